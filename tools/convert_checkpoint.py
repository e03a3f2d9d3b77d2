"""Turn a released checkpoint of other code into one of ours."""

import argparse
import os
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from d2_psformer.checkpoint import convert_official
from d2_psformer.checkpoint.files import read_weights

CONVERTERS = {"official": convert_official}


def main() -> None:
    args = parse_args()
    folder = os.path.dirname(args.output) or "."
    if not os.path.isdir(folder):
        sys.exit(f"There is no folder '{folder}' for the output.")
    try:
        weights = read_weights(args.input, args.trust)
    except (FileNotFoundError, ValueError) as error:
        sys.exit(str(error))
    try:
        model = CONVERTERS[args.source](weights)
    except ValueError as error:
        sys.exit(f"{args.input}: {error}")
    partial = f"{args.output}.partial"
    torch.save({"model": model}, partial)
    os.replace(partial, args.output)
    total = sum(x.numel() for x in model.values())
    print(f"{args.output}: {len(model)} tensors, {total / 1e6:.1f}M numbers.")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", choices=CONVERTERS, default="official", help="whose it is")
    parser.add_argument(
        "--trust",
        action="store_true",
        help="load Python objects in the file too; they can run code",
    )
    parser.add_argument("input", metavar="IN.pth", help="the released checkpoint")
    parser.add_argument("output", metavar="OUT.pth", help="file to write, for MODEL.WEIGHTS")
    return parser.parse_args()


if __name__ == "__main__":
    main()
