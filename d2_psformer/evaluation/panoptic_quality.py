"""Panoptic quality of files in the COCO-panoptic layout, from Python or as a command.

``python -m d2_psformer.evaluation.panoptic_quality --gt_json_file GT.json --pred_json_file P.json``
takes the arguments of panopticapi's evaluation and gives its figures.
"""

import argparse
import sys

from tqdm import tqdm

from ..command_errors import told_in_one_sentence
from ..data.coco_panoptic import PanopticFiles
from ..utils.errors import UserError
from .pq_counter import COCO_SIZE_BOUNDS, PanopticQuality
from .pq_tables import per_class_table, summary_table
from .result_files import write_results

__all__ = ["PanopticQuality", "evaluate_files", "main"]


def evaluate_files(
    gt_json_file: str,
    pred_json_file: str,
    gt_folder: str | None = None,
    pred_folder: str | None = None,
    *,
    size_bounds: tuple[int, int] = COCO_SIZE_BOUNDS,
) -> PanopticQuality:
    """Count the panoptic quality of predictions over all annotations of the ground truth.

    Folders default to the JSON's path without ``.json``. Predictions of images that the ground
    truth lacks are left alone. Of several annotations of an image, all those of the ground truth
    count, and the last of the predictions is counted against them, as in panopticapi.

    Raises:
        UserError: one sentence that names the file, image or segment at fault.
    """
    gt = PanopticFiles(gt_json_file, gt_folder)
    pred = PanopticFiles(pred_json_file, pred_folder)
    quality = PanopticQuality(gt.categories, size_bounds)
    missing = [image_id for image_id in gt.annotations if image_id not in pred.annotations]
    if missing:
        raise UserError(
            f"'{pred_json_file}' has no prediction for image {missing[0]}"
            f"{f' and {len(missing) - 1} more' if missing[1:] else ''}: predict every image of "
            f"'{gt_json_file}'."
        )
    for image_id in tqdm(gt.annotations, desc="Panoptic quality", unit="image", disable=None):
        prediction = pred.read(image_id)[-1]
        for truth in gt.read(image_id):
            where = f"{image_id} of '{gt_json_file}' and '{pred_json_file}'"
            quality.add(where, *truth, *prediction)
    return quality


@told_in_one_sentence()
def main(arguments: list[str] | None = None) -> None:
    """The command that the module's docstring describes."""
    options = _parser().parse_args(arguments)
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
        write_results(options.json, {**results, "num_images": quality.num_images})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m d2_psformer.evaluation.panoptic_quality",
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
        default=COCO_SIZE_BOUNDS,
        metavar=("MEDIUM", "LARGE"),
        help="least area in pixels of a medium and a large segment; default: COCO's %(default)s",
    )
    return parser


if __name__ == "__main__":
    main()
