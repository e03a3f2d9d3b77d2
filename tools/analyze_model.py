#!/usr/bin/env python
"""Parameters, floating-point operations, activations and time of models, part by part."""

import argparse
import re
import sys
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works before installation too

from analysis.models import analyze, model_key, read_config
from analysis.tables import (
    flop_table,
    kind_table,
    parameter_table,
    part_rows,
    part_table,
    summary_row,
    uncounted_text,
)
from analysis.timing import seconds_by_module

from d2_psformer.utils.commands import report_user_errors
from d2_psformer.utils.files import write_json

CONFIGS = Path(__file__).resolve().parents[1] / "configs"

EPILOG = """
Examples:
  one model, part by part   tools/analyze_model.py --config-file configs/coco/psformer_R50_2x.yaml
  with time on this machine tools/analyze_model.py --config-file FILE --time 5
  another image, a variant  tools/analyze_model.py --config-file FILE --input 1024x2048 \\
                                MODEL.PSFORMER.ENCODER_LAYERS 3
  all of configs/           tools/analyze_model.py --all --markdown > models.md

Counted is inference on one image without its merging, one multiply-add as one FLOP, as fvcore and
Detectron2 count. Nothing is computed and no weights are loaded, except for --time. Things are
decoded for as many queries as MODEL.PSFORMER.TEST.TOPK allows; a trained model needs fewer.
"""


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--config-file",
        action="append",
        metavar="FILE",
        help="config of a model; several of them give a table of models",
    )
    which.add_argument("--all", action="store_true", help="a table of all models in configs/")
    parser.add_argument(
        "--input",
        type=image_size,
        default=(800, 1200),
        metavar="HxW",
        help="height and width of the image (default: 800x1200)",
    )
    parser.add_argument(
        "--depth", type=int, default=2, metavar="N", help="levels of parts (default: %(default)s)"
    )
    parser.add_argument(
        "--time",
        type=int,
        default=0,
        metavar="N",
        help="measure N passes on MODEL.DEVICE, for one model",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write plain numbers there")
    parser.add_argument("--markdown", action="store_true", help="print tables for documents")
    parser.add_argument(
        "opts",
        nargs=argparse.REMAINDER,
        help="settings that replace those of the config: KEY VALUE KEY VALUE ..., at the very end",
    )
    args = parser.parse_args(arguments)
    if args.time < 0 or args.depth < 0:
        parser.error("--time and --depth must be 0 or more")
    if args.time and (args.all or len(args.config_file) > 1):
        parser.error("--time is for one --config-file")
    return args


def image_size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"'{text}' is no size: write height x width, 800x1200")
    return int(match[1]), int(match[2])


@report_user_errors()
def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    if args.all or len(args.config_file) > 1:
        tell_many(args)
    else:
        tell_one(args)


def tell_one(args: argparse.Namespace) -> None:
    """Parts and operators of one model."""
    cfg = read_config(args.config_file[0], args.opts)
    analysis = analyze(cfg, args.input)
    seconds = seconds_by_module(cfg, args.input, args.time) if args.time else None
    rows = part_rows(analysis, args.depth, seconds)
    style = "github" if args.markdown else "simple"
    height, width = args.input
    print(f"{args.config_file[0]}, image of {height}x{width}\n")
    print(part_table(rows, style), end="\n\n")
    print(kind_table(analysis, style), end="\n\n")
    print(uncounted_text(analysis))
    if args.json:
        counts = analysis.counts
        kinds = {"flops by kind": counts.flops_by_kind(), "not counted": counts.uncounted}
        write_json(args.json, {"input": args.input, "parts": rows, **kinds})


def tell_many(args: argparse.Namespace) -> None:
    """One row a model; configs of the same model share it."""
    files = [Path(name) for name in args.config_file or []]
    if args.all:
        files = [f for f in sorted(CONFIGS.rglob("*.yaml")) if not f.name.startswith("Base-")]
    models, left_out = {}, []
    for file in files:
        try:
            cfg = read_config(str(file), args.opts)
        except ValueError as error:
            if not args.all:
                raise
            left_out.append(f"{short_name(file)}: {error}")
            continue
        models.setdefault(model_key(cfg), (cfg, []))[1].append(short_name(file))
    rows = []
    for cfg, names in tqdm(models.values(), desc="counting", unit="model", disable=None):
        rows.append(summary_row(names, analyze(cfg, args.input)))
    style = "github" if args.markdown else "simple"
    print("Millions of parameters\n")
    print(parameter_table(rows, style))
    height, width = args.input
    print(f"\nGFLOPs and millions of activations on an image of {height}x{width}\n")
    print(flop_table(rows, style))
    for sentence in left_out:
        print(f"\nLeft out, {sentence}")
    if args.json:
        write_json(args.json, {"input": args.input, "models": rows, "left out": left_out})


def short_name(file: Path) -> str:
    """As in PUBLISHED: below configs/, without .yaml."""
    path = file.resolve()
    path = path.relative_to(CONFIGS) if path.is_relative_to(CONFIGS) else file
    return str(path.with_suffix(""))


if __name__ == "__main__":
    main()
