"""Turn a released checkpoint of other code into one of ours."""

import argparse
import os
import pickle
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from d2_psformer.checkpoint import convert_official

CONVERTERS = {"official": convert_official}


def main() -> None:
    args = parse_args()
    try:
        content = torch.load(args.input, map_location="cpu", weights_only=not args.trust)
    except pickle.UnpicklingError:
        sys.exit(
            f"{args.input} holds Python objects beside tensors, which can run code when loaded: "
            "add --trust if you trust its source."
        )
    except (OSError, RuntimeError) as error:
        sys.exit(f"{args.input} cannot be read as a checkpoint: {error}")
    try:
        model = CONVERTERS[args.source](content.get("state_dict", content))
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
