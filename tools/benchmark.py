#!/usr/bin/env python
"""Measure speed and memory beside what a user could run otherwise."""

import argparse
import importlib
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # works before installation too

R50 = "configs/coco/psformer_R50_2x.yaml"
EPILOG = """
Examples:
  the operator on this CPU       tools/benchmark.py op --threads 2
  the operator on a GPU          tools/benchmark.py op --device cuda
  the whole model and its peer   tools/benchmark.py model
  against another checkout       tools/benchmark.py model --against ../before --rounds 5
  images a second for training   tools/benchmark.py loader --workers 0 2 4
  evaluation of 100 images       tools/benchmark.py pq
  AP of 100 images               tools/benchmark.py ap
  decoders of panoptic PNGs      tools/benchmark.py png --files FOLDER/*.png
  from masks to the id map       tools/benchmark.py merging --threads 2
  MaX-DeepLab's axial attention  tools/benchmark.py axial --threads 2
  a model and its ONNX files     tools/benchmark.py deployment --threads 2

All that is compared takes turns, so that noise of a shared machine meets all of it.
"""


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    # Help must be quick: nothing here imports PyTorch.
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="name", required=True)
    count = {"type": positive, "metavar": "N"}

    def command(name: str, meaning: str, rounds: int = 5) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=meaning, description=meaning)
        added.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
        added.add_argument("--rounds", **count, default=rounds, help=f"({rounds})")
        return added

    op = command("op", "multi-scale deformable attention against grid_sample and other kernels")
    cases = ("encoder 800x1216", "encoder 480x640", "decoder")
    op.add_argument("--cases", nargs="+", choices=cases, default=cases)
    model = command(
        "model", "the whole model against Mask2Former, MaskFormer or EoMT of transformers", rounds=3
    )
    model.add_argument("--against", type=Path, metavar="DIR", help="another checkout of this")
    configs = {"dest": "config_files", "nargs": "+", "default": [R50], "metavar": "FILE"}
    model.add_argument("--config-file", **configs, help=f"peers follow it ({R50})")
    tasks = ("inference", "training")
    model.add_argument("--tasks", nargs="+", choices=tasks, default=tasks)
    model.add_argument("--no-peer", dest="peer", action="store_false", help="without transformers")
    words = "settings 'KEY VALUE ...' of {}; {{dtype}} stands for the type that is measured"
    own = "MODEL.AUTOCAST {dtype}"
    model.add_argument("--opts", default=own, help=words.format("this checkout"))
    model.add_argument("--against-opts", default="", help=words.format("the other checkout"))
    merging = command("merging", "mergings against loops over masks of the whole image")
    pq = command(
        "pq", "panoptic quality in memory and of files, against others that are there", rounds=3
    )
    ap = command("ap", "AP of boxes and masks by pycocotools and by hotcoco", rounds=3)
    png = command("png", "decoders of panoptic PNGs, those that are installed")
    png.add_argument("--files", nargs="+", type=Path, metavar="PNG", help="instead of generated")
    axial = command("axial", "MaX-DeepLab-S against axial attention as its formula is written")
    axial.add_argument("--size", **count, default=641, help="pixels of the image's sides (641)")
    deployment = command("deployment", "quality and speed of a model and of its exported files")
    deployment.add_argument(
        "--model", default="scenes/demo", metavar="CONFIG", help="(%(default)s)"
    )
    weights = ROOT / "demo" / "psformer_scenes.pth"
    deployment.add_argument("--weights", default=str(weights), metavar="FILE")
    deployment.add_argument("--images", **count, default=50, help="generated scenes (50)")
    deployment.add_argument("--size", **count, default=128, help="of their sides (128)")
    loader = command("loader", "the training loader alone: images a second", rounds=3)
    loader.add_argument("--config-file", default=str(ROOT / R50), metavar="FILE")
    loader.add_argument("--workers", nargs="+", type=int, default=[0, 1, 2], metavar="N")
    loader.add_argument("--batch", **count, default=2, help="images of a batch (2)")

    for one in (op, model):
        types = ("float32", "bfloat16")
        one.add_argument("--dtypes", nargs="+", choices=types, default=types)
    deployment.add_argument("--threads", **count, default=2, help="of both (2)")
    for one in (op, model, merging, axial):
        one.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
        one.add_argument("--threads", **count, default=2, help="of PyTorch (2)")
    for one, sizes in ((model, ["800x1200", "480x640"]), (merging, ["800x1200", "427x640"])):
        default = [*map(size_of, sizes)]
        one.add_argument("--sizes", nargs="+", type=size_of, default=default, metavar="HxW")
    for one in (pq, ap, png, loader):
        one.add_argument("--images", **count, default=100, help="generated (100)")
        one.add_argument("--size", **count, default=640, help="of their sides (640)")
    return parser.parse_args(arguments)


def positive(text: str) -> int:
    """A number of rounds, images and the like."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number: give 1 or more")
    return int(text)


def size_of(text: str) -> tuple[int, int]:
    """Height and width from "HxW"."""
    sides = text.split("x")
    if len(sides) != 2 or not all(side.isdigit() and int(side) for side in sides):
        raise argparse.ArgumentTypeError(f"'{text}' is not HxW, height and width")
    return int(sides[0]), int(sides[1])


def main(arguments: list[str] | None = None) -> None:
    options = parse_args(arguments)
    from d2_psformer.utils.commands import report_user_errors

    with report_user_errors():
        from benchmarks.timing import describe_machine
        from tabulate import tabulate

        rows = importlib.import_module(f"benchmarks.{options.name}").measure(options)
        machine = describe_machine(getattr(options, "device", "cpu"))
        print(f"{machine}\n\n{tabulate(rows, 'keys', 'github', floatfmt='.4g', missingval='')}")
        if options.json:
            options.json.write_text(json.dumps({"machine": machine, "results": rows}, indent=1))


if __name__ == "__main__":
    main()
