#!/usr/bin/env python
"""Turn a released checkpoint of other code into one of ours."""

import argparse
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from d2_psformer.checkpoint import check_finite, convert_official
from d2_psformer.checkpoint.files import read_weights
from d2_psformer.command_errors import told_in_one_sentence
from d2_psformer.data.files import atomic_write

CONVERTERS = {"official": convert_official}


@told_in_one_sentence()
def main() -> None:
    args = parse_args()
    weights = read_weights(args.input, args.trust)
    try:
        model = CONVERTERS[args.source](weights)
        check_finite(model, "the weights", "use another file, or download it again")
    except ValueError as error:
        raise ValueError(f"'{args.input}': {error}") from error
    with atomic_write(args.output) as file:
        torch.save({"model": model}, file)
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
