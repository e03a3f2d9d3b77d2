#!/usr/bin/env python
"""Write the data set of generated scenes in COCO-panoptic format.

The same --train, --val, --size, --seed and --level give the same files, whatever --workers is. A
folder that holds this very data set already is left alone; one with other scenes is replaced whole.
"""

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works before installation too

from d2_psformer.command_errors import told_in_one_sentence
from d2_psformer.data import datasets_root
from d2_psformer.data.scenes import LEVELS, ScenesSpec, scenes_folder, write_scenes

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
    for name, meaning in (
        ("train", "number of training scenes"),
        ("val", "number of validation scenes, none of them among the training scenes"),
        ("size", "height and width in pixels"),
        ("seed", "which series of scenes"),
    ):
        default = getattr(ScenesSpec, name)
        parser.add_argument(
            f"--{name}", type=int, default=default, metavar="N", help=f"{meaning} ({default})"
        )
    parser.add_argument(
        "--level",
        choices=LEVELS,
        default=ScenesSpec.level,
        help="hard: more things, smaller and larger, hidden more, beside others that look alike "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count(), metavar="N", help="processes (all cores)"
    )
    return parser.parse_args(arguments)


@told_in_one_sentence()
def main() -> None:
    args = parse_arguments()
    spec = ScenesSpec(args.train, args.val, args.size, args.seed, args.level)
    folder = args.output or Path(datasets_root(), scenes_folder(args.level))
    written = write_scenes(folder, spec, args.workers)
    print(f"{folder}: {'written' if written else 'already there'}")


if __name__ == "__main__":
    main()
