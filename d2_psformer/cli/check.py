"""``psformer check``: the files of data sets, before a training reads them."""

import argparse
import itertools

from ..utils.commands import add_workers
from ..utils.errors import UserError

SUMMARY = "check the files of a data set and count its classes"
EPILOG = """
Examples:
  own data           psformer check --data mine/data.yaml
  data of a config   psformer check --config mine.yaml
  a registered name  psformer check coco_2017_val_panoptic
  files              psformer check mine --images mine/train --panoptic-json mine/train.json
                         --panoptic-folder mine/train_panoptic

Reads every image and annotation. Ends with status 1 if there are faults.
"""
SHOWN_FAULTS = 20
# The options of panoptic, semantic and instance data; --images is one of each.
_FILES = (
    ("images", "panoptic_json", "panoptic_folder"),
    ("images", "label_folder", "classes"),
    ("images", "instance_json"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("name", nargs="*", help="registered names (default: all of the config), or one of files")
    add("--data", metavar="YAML_OR_DIR", help="data.yaml of your data set, or the folder it is in")
    add("--config", metavar="CONFIG", help="config that names data sets")
    add("--images", metavar="DIR", help="folder of the images")
    add("--panoptic-json", metavar="FILE", help="COCO-panoptic JSON")
    add("--panoptic-folder", metavar="DIR", help="folder of the panoptic PNGs")
    add("--label-folder", metavar="DIR", help="folder of semantic label PNGs")
    add("--classes", nargs="+", metavar="NAME", help="of the values 0, 1, ...")
    add("--instance-json", metavar="FILE", help="COCO instance JSON")
    add_workers(parser)


def run(args: argparse.Namespace) -> int:
    given = {key for key in {*itertools.chain(*_FILES)} if getattr(args, key)}
    if given and (given not in map(set, _FILES) or len(args.name) != 1):
        raise UserError("--images goes with one name and " + ", or ".join(map(_shown, _FILES)))
    if not args.name and not args.config and not args.data:
        raise UserError("Say what to check: --data FOLDER, --config CONFIG, or a registered name.")
    return max([_check(name, args.workers) for name in _register(args)])


def _shown(keys: tuple[str, ...]) -> str:
    return " and ".join(f"--{key.replace('_', '-')}" for key in keys[1:])


def _register(args: argparse.Namespace) -> list[str]:
    """Register the data sets of the command line; returns the names to check."""
    from ..data import (
        register_from_config,
        register_instances,
        register_panoptic,
        register_semantic,
    )
    from ..engine import load_config

    if args.panoptic_json:
        register_panoptic(*args.name, args.images, args.panoptic_json, args.panoptic_folder)
    elif args.label_folder:
        register_semantic(*args.name, args.images, args.label_folder, args.classes)
    elif args.instance_json:
        register_instances(*args.name, args.images, args.instance_json)
    if not args.config and not args.data:
        return args.name
    cfg = load_config(args.config, data=args.data)
    register_from_config(cfg)
    if not (names := args.name or [*dict.fromkeys((*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST))]):
        raise UserError("DATASETS.TRAIN and DATASETS.TEST are empty: name a data set to check.")
    return names


def _check(name: str, workers: int) -> int:
    """Print what there is to say about a data set; returns 1 if it has faults."""
    from ..data import check_dataset

    report = check_dataset(name, workers=workers)
    print(report.table(), "", *(f"- {fault}" for fault in report.faults[:SHOWN_FAULTS]), sep="\n")
    if len(report.faults) > SHOWN_FAULTS:
        print(f"- and {len(report.faults) - SHOWN_FAULTS} more")
    print(f"{name}: {report.images} images, {len(report.faults)} faults")
    return 1 if report.faults else 0
