"""``psformer check``: the files of data sets, before a training reads them."""

import argparse
import itertools
from pathlib import Path
from typing import TYPE_CHECKING

from ..utils.commands import add_workers
from ..utils.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..data.checks import DatasetReport
    from ..data.findings import Finding

SUMMARY = "check the files of a data set and count its classes"
EPILOG = """
Examples:
  own data           psformer check --data mine/data.yaml
  data of a config   psformer check --config mine.yaml
  a registered name  psformer check coco_2017_val_panoptic
  files              psformer check mine --images mine/train --panoptic-json mine/train.json
                         --panoptic-folder mine/train_panoptic

  for a look at it   psformer check --data mine/data.yaml --html check.html
  in CI              psformer check --data mine/data.yaml --strict --json check.json

Reads every image and annotation: missing, broken and copied files, sizes, ids, classes, colours,
and the same images in several data sets. Ends with status 1 if there are errors.
"""
SHOWN = 20
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
    add("--json", type=Path, metavar="FILE", help="write findings and statistics to this file")
    add("--html", type=Path, metavar="FILE", help="write a page with pictures of the worst images")
    add("--strict", action="store_true", help="status 1 after warnings, too")
    add_workers(parser)


def run(args: argparse.Namespace) -> int:
    given = {key for key in {*itertools.chain(*_FILES)} if getattr(args, key)}
    if given and (given not in map(set, _FILES) or len(args.name) != 1):
        raise UserError("--images goes with one name and " + ", or ".join(map(_shown, _FILES)))
    if not args.name and not args.config and not args.data:
        raise UserError("Say what to check: --data FOLDER, --config CONFIG, or a registered name.")
    for file in filter(None, (args.json, args.html)):
        if file.is_dir():
            raise UserError(f"'{file}' is a folder: name a file in it.")
    for name in args.name:
        if not given and Path(name).exists():
            raise UserError(f"'{name}' is a path, not the name of a data set: add --data before.")
    return _check(_register(args), args)


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


def _check(names: list[str], args: argparse.Namespace) -> int:
    """Check data sets and write what there is to say; returns the exit status."""
    from ..data import check_dataset
    from ..data.checks import check_splits
    from ..utils.files import write_json

    reports = []
    for name in names:
        reports.append(check_dataset(name, workers=args.workers))
        _print(reports[-1])
    if common := check_splits(reports):
        _print_findings("all", sum(report.images for report in reports), common)
    findings = [*common, *itertools.chain(*(report.findings for report in reports))]
    if args.json:
        sets = [report.to_json() for report in reports]
        between = [{"severity": f.severity, "sentence": f.sentence} for f in common]
        write_json(args.json, {"data sets": sets, "between data sets": between})
    if args.html:
        from ..report.check_page import write_check_page

        write_check_page(args.html, reports, common)
        print(f"Written: {args.html}")
    failing = {"error", "warning"} if args.strict else {"error"}
    return int(any(finding.severity in failing for finding in findings))


def _print(report: "DatasetReport") -> None:
    print(report.table(), "", sep="\n")
    for what, spread in report.statistics().items():
        if isinstance(spread, dict) and spread:
            least, median, most = (f"{value:g}" for value in spread.values())
            print(f"{what}: {least} to {most}, median {median}")
    _print_findings(report.name, report.images, report.findings)


def _print_findings(name: str, images: int, findings: "Sequence[Finding]") -> None:
    """At most SHOWN sentences of each severity, and how many there are."""
    from ..data.findings import SEVERITIES
    from ..utils.wording import counted

    print()
    counts = []
    for severity in SEVERITIES:
        found = [finding for finding in findings if finding.severity == severity]
        counts.append(counted(len(found), severity))
        for finding in found[:SHOWN]:
            print(f"{severity:7s}  {finding.kind:14s}  {finding.sentence}")
        if len(found) > SHOWN:
            print(f"{severity:7s}  and {len(found) - SHOWN} more: --json and --html have them")
    print(f"{name}: {', '.join([counted(images, 'image'), *counts])}\n")
