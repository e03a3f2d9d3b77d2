"""Check the files of a data set: ``python -m d2_psformer.cli.check_data NAME``."""

import argparse
import itertools
import sys

from ..utils.commands import add_workers, report_user_errors
from ..utils.errors import check_known

SHOWN_FAULTS = 20


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m d2_psformer.cli.check_data",
        description="Read every image and annotation of a data set; report what does not fit "
        "together and count its classes. Ends with status 1 if there are faults.",
    )
    parser.add_argument("name", help="a registered name, or any name with options for the files")
    parser.add_argument("--images", metavar="DIR", help="folder of the images")
    parser.add_argument("--panoptic-json", metavar="FILE", help="COCO-panoptic JSON")
    parser.add_argument("--panoptic-folder", metavar="DIR", help="folder of the panoptic PNGs")
    parser.add_argument("--label-folder", metavar="DIR", help="folder of semantic label PNGs")
    parser.add_argument("--classes", nargs="+", metavar="NAME", help="of the values 0, 1, ...")
    parser.add_argument("--instance-json", metavar="FILE", help="COCO instance JSON")
    add_workers(parser)
    options = parser.parse_args(arguments)
    given = {key for key in {*itertools.chain(*_FILES)} if getattr(options, key)}
    if given and given not in map(set, _FILES):
        parser.error("--images goes with " + ", or with ".join(map(_shown, _FILES)))
    return options


# The options of panoptic, semantic and instance data; --images is one of each.
_FILES = (
    ("images", "panoptic_json", "panoptic_folder"),
    ("images", "label_folder", "classes"),
    ("images", "instance_json"),
)


def _shown(keys: tuple[str, ...]) -> str:
    return " and ".join(f"--{key.replace('_', '-')}" for key in keys[1:])


@report_user_errors()
def main(arguments: list[str] | None = None) -> int:
    options = parse_arguments(arguments)
    from ..d2.data import DatasetCatalog
    from ..data import check_dataset, register_instances, register_panoptic, register_semantic

    name, images = options.name, options.images
    if options.panoptic_json:
        register_panoptic(name, images, options.panoptic_json, options.panoptic_folder)
    elif options.label_folder:
        register_semantic(name, images, options.label_folder, options.classes)
    elif options.instance_json:
        register_instances(name, images, options.instance_json)
    check_known("Data set", options.name, DatasetCatalog.list())
    report = check_dataset(options.name, workers=options.workers)
    lines = [report.table(), "", *(f"- {fault}" for fault in report.faults[:SHOWN_FAULTS])]
    if len(report.faults) > SHOWN_FAULTS:
        lines.append(f"- and {len(report.faults) - SHOWN_FAULTS} more")
    lines.append(f"{report.images} images, {len(report.faults)} faults")
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
