"""Check a panoptic data set: ``python -m d2_psformer.cli.check_data NAME``."""

import argparse
import sys

from ..utils.commands import add_workers, report_user_errors
from ..utils.errors import check_known

SHOWN_FAULTS = 20


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m d2_psformer.cli.check_data",
        description="Read every image and annotation of a panoptic data set; report what does not "
        "fit together and count its classes. Ends with status 1 if there are faults.",
    )
    parser.add_argument("name", help="a registered name, or any name with the three options below")
    parser.add_argument("--images", metavar="DIR", help="folder of the images")
    parser.add_argument("--panoptic-json", metavar="FILE", help="COCO-panoptic JSON")
    parser.add_argument("--panoptic-folder", metavar="DIR", help="folder of the panoptic PNGs")
    add_workers(parser)
    options = parser.parse_args(arguments)
    files = (options.images, options.panoptic_json, options.panoptic_folder)
    if any(files) and not all(files):
        parser.error("--images, --panoptic-json and --panoptic-folder go together")
    return options


@report_user_errors()
def main(arguments: list[str] | None = None) -> int:
    options = parse_arguments(arguments)
    from ..d2.data import DatasetCatalog
    from ..data import check_dataset, register_panoptic

    if options.images:
        register_panoptic(
            options.name, options.images, options.panoptic_json, options.panoptic_folder
        )
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
