"""Panoptic quality of files in the COCO-panoptic layout."""

from ..data.coco_panoptic import PanopticFiles
from ..utils.errors import UserError
from ..utils.progress import progress
from .pq_counter import COCO_SIZE_BOUNDS, PanopticQuality


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
    truth lacks are ignored. Of several annotations of an image, all those of the ground truth
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
    for image_id in progress(gt.annotations, desc="Panoptic quality", unit="image"):
        prediction = pred.read(image_id)[-1]
        for truth in gt.read(image_id):
            where = f"{image_id} of '{gt_json_file}' and '{pred_json_file}'"
            quality.add(where, *truth, *prediction)
    return quality
