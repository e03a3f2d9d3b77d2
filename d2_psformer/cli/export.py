"""``psformer export``: a trained model as a file for other programs."""

import argparse
import sys
from pathlib import Path

from ..utils.errors import UserError

SUMMARY = "write a trained model as ONNX, torch.export program or slim safetensors"
EPILOG = """
Examples:
  for onnxruntime, without PyTorch   psformer export model.pth --output model.onnx
  with weights stored in 8 bits      psformer export model.pth --output model.onnx --int8
  one size alone, for TensorRT       psformer export model.pth --output model.onnx --fixed
                                              --size 800x1344
  for torch.export.load              psformer export model.pth --output model.pt2
  weights, config and classes        psformer export model.pth --output model.safetensors
  by a config and weights            psformer export coco/psformer_R50_2x --weights model.pth
                                              --output model.onnx

ONNX files and programs are run on generated images of several sizes and compared with the model:
the differences are printed, and a file that differs too much is not written.
  python -m d2_psformer.deployment model.onnx photo.jpg
segments an image with the ONNX file; docs/deploy.md says how to do that in a program of your own.
"""
FORMATS = {".onnx": "onnx", ".pt2": "program", ".safetensors": "safetensors"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", help="checkpoint with its config inside, or a config by file or name")
    add("--weights", metavar="FILE", help="checkpoint of the model (default: MODEL.WEIGHTS)")
    add("--output", type=Path, required=True, metavar="FILE", help="what to write")
    choices = tuple(FORMATS.values())
    add("--format", choices=choices, help="default: by the suffix of --output")
    size = "height and width of the canvas (default: 480x640, or the only size of the model)"
    add("--size", type=_size, metavar="HxW", help=size)
    add("--fixed", action="store_true", help="the file takes one image of --size alone")
    add("--opset", type=int, default=20, metavar="N", help="of ONNX, 20 or more (%(default)s)")
    add("--int8", action="store_true", help="ONNX: store and multiply matrices in 8 bits")
    bound = "ONNX and program: the largest difference, as a share of the largest value (0.001)"
    add("--bound", type=float, metavar="X", help=f"{bound}; not checked with --int8")
    add("--opts", nargs=argparse.REMAINDER, default=[], help="at the very end: KEY VALUE ...")


def _size(text: str) -> tuple[int, int]:
    sides = text.split("x")
    if len(sides) != 2 or not all(side.isdecimal() and int(side) for side in sides):
        raise argparse.ArgumentTypeError(f"'{text}' is not HxW, height and width in pixels")
    return int(sides[0]), int(sides[1])


def run(args: argparse.Namespace) -> None:
    chosen = args.format or FORMATS.get(args.output.suffix)
    if chosen is None:
        raise UserError(
            f"'{args.output}' has none of the suffixes {', '.join(FORMATS)}: add --format."
        )
    if args.int8 and chosen != "onnx":
        raise UserError(f"--int8 is for ONNX, not for the format {chosen}.")
    from ..d2.utils import setup_logger
    from ..export import export, export_safetensors
    from .predict import config_of

    setup_logger(name="d2_psformer")
    cfg = config_of(args.model, args.weights, args.opts)
    if chosen == "safetensors":
        export_safetensors(cfg, args.output)
    else:
        differences = export(
            cfg,
            args.output,
            chosen,
            size=args.size,
            fixed=args.fixed,
            opset=args.opset,
            int8=args.int8,
            bound=args.bound,
        )
        sys.stdout.write("Largest differences from the model, as shares of the largest value:\n")
        for name, difference in differences.items():
            sys.stdout.write(f"  {name}: {difference:.1e}\n")
    megabytes = args.output.stat().st_size / 1e6
    sys.stdout.write(f"Written: {args.output} ({megabytes:.1f} MB)\n")
