#!/usr/bin/env python
"""Turn a released checkpoint of other code into one of ours."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works before installation too

from d2_psformer.utils.commands import report_user_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--source",
        choices=("official", "ours"),
        default="official",
        help="whose names the parameters have (default: %(default)s)",
    )
    parser.add_argument(
        "--trust",
        action="store_true",
        help="load Python objects in the file too; they can run code",
    )
    parser.add_argument("input", metavar="IN.pth", help="the released checkpoint")
    parser.add_argument("output", metavar="OUT.pth", help="file to write, for MODEL.WEIGHTS")
    return parser.parse_args()


@report_user_errors()
def main() -> None:
    args = parse_args()
    import torch

    from d2_psformer.checkpoint import check_finite, convert_official, read_checkpoint
    from d2_psformer.utils.errors import UserError
    from d2_psformer.utils.files import atomic_write

    model = read_checkpoint(args.input, args.trust)["model"]
    try:
        if args.source == "official":
            model = convert_official(model)
        check_finite(model, "the weights", "use another file, or download it again")
    except UserError as error:
        raise UserError(f"'{args.input}': {error}") from error
    with atomic_write(args.output) as file:
        torch.save({"model": model}, file)
    total = sum(x.numel() for x in model.values())
    print(f"{args.output}: {len(model)} tensors, {total / 1e6:.1f}M numbers.")


if __name__ == "__main__":
    main()
