"""Panoptic quality of predicted files, with the arguments and figures of panopticapi.

``python -m d2_psformer.cli.panoptic_quality --gt_json_file GT.json --pred_json_file P.json``
"""

import argparse
import sys

from ..utils.commands import report_user_errors


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m d2_psformer.cli.panoptic_quality",
        description="Panoptic quality of predictions in COCO's format: exact, crowds included.",
    )
    parser.add_argument("--gt_json_file", required=True, help="JSON of the ground truth")
    parser.add_argument("--pred_json_file", required=True, help="JSON of the predictions")
    default = "; default: the JSON's path without .json"
    parser.add_argument("--gt_folder", help="folder of the ground truth's PNGs" + default)
    parser.add_argument("--pred_folder", help="folder of the predicted PNGs" + default)
    parser.add_argument("--per-class", action="store_true", help="print a row for each class")
    parser.add_argument("--json", metavar="OUT", help="write all figures to this file")
    parser.add_argument(
        "--size-bounds",
        nargs=2,
        type=int,
        default=(32**2, 96**2),
        metavar=("MEDIUM", "LARGE"),
        help="least area in pixels of a medium and a large segment; default: COCO's %(default)s",
    )
    return parser.parse_args(arguments)


@report_user_errors()
def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)
    from ..evaluation.panoptic_quality import evaluate_files
    from ..evaluation.pq_tables import per_class_table, summary_table
    from ..utils.files import write_json

    quality = evaluate_files(
        options.gt_json_file,
        options.pred_json_file,
        options.gt_folder,
        options.pred_folder,
        size_bounds=tuple(options.size_bounds),
    )
    results = quality.results()
    if options.per_class:
        sys.stdout.write(per_class_table(results) + "\n\n")
    sys.stdout.write(summary_table(results) + "\n")
    if options.json:
        write_json(options.json, {**results, "num_images": quality.num_images})


if __name__ == "__main__":
    main()
