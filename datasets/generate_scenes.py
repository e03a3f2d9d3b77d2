#!/usr/bin/env python
"""Write the data set of generated scenes in COCO-panoptic format.

The same --train, --val, --size, --seed and --level give the same files, whatever --workers is. A
folder that holds this very data set already is left alone; one with other scenes is replaced whole.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works before installation too

from d2_psformer.utils.commands import add_workers, report_user_errors

# Name of a number: its default and meaning.
NUMBERS = {
    "train": (4000, "number of training scenes"),
    "val": (200, "number of validation scenes, none of them among the training scenes"),
    "size": (128, "height and width in pixels"),
    "seed": (0, "which series of scenes"),
}
EPILOG = """
Examples:
  the data of scenes_train, scenes_val                  generate_scenes.py
  a harder one, of scenes_hard_train, scenes_hard_val   generate_scenes.py --level hard
"""


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="folder to write (default: $DETECTRON2_DATASETS/scenes, else datasets/scenes; of hard "
        "scenes scenes_hard)",
    )
    for name, (default, meaning) in NUMBERS.items():
        parser.add_argument(
            f"--{name}", type=int, default=default, metavar="N", help=f"{meaning} ({default})"
        )
    parser.add_argument(
        "--level",
        choices=("standard", "hard"),
        default="standard",
        help="hard: more things, smaller and larger, hidden more, beside others that look alike "
        "(default: %(default)s)",
    )
    add_workers(parser)
    return parser.parse_args(arguments)


@report_user_errors()
def main() -> None:
    args = parse_arguments()
    from d2_psformer.data import datasets_root
    from d2_psformer.data.scenes import ScenesSpec, scenes_folder, write_scenes

    spec = ScenesSpec(args.train, args.val, args.size, args.seed, args.level)
    folder = args.output or Path(datasets_root(), scenes_folder(args.level))
    written = write_scenes(folder, spec, args.workers)
    print(f"{folder}: {'written' if written else 'already there'}")


if __name__ == "__main__":
    main()
