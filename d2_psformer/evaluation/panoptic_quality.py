"""Panoptic quality of files in the COCO-panoptic layout; needs neither torch nor OpenCV."""

import logging
import os

from ..data.class_alignment import align_categories
from ..data.coco_panoptic import PanopticFiles, category_in
from ..utils.errors import UserError
from ..utils.parallel import map_with_progress
from .pq_counter import COCO_SIZE_BOUNDS, PanopticQuality
from .pq_segments import Overlaps, joint_histogram

logger = logging.getLogger(__name__)


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
    Predictions with ``categories`` are of the ground truth's classes by their names, under any ids;
    those without have its ids.

    Raises:
        UserError: one sentence that names the file, image, segment or class at fault.
    """
    gt = PanopticFiles(gt_json_file, gt_folder)
    pred = PanopticFiles(pred_json_file, pred_folder)
    quality = PanopticQuality(gt.categories, size_bounds)
    true_ids = _true_ids(gt, pred)
    missing = [image_id for image_id in gt.annotations if image_id not in pred.annotations]
    if missing:
        raise UserError(
            f"'{pred_json_file}' has no prediction for image {missing[0]}"
            f"{f' and {len(missing) - 1} more' if missing[1:] else ''}: predict every image of "
            f"'{gt_json_file}'."
        )

    def where(image_id: str) -> str:
        return f"{image_id} of '{gt_json_file}' and '{pred_json_file}'"

    def read(image_id: str) -> list[tuple[Overlaps, list[dict], list[dict]]]:
        pred_map, predicted = pred.read(image_id)[-1]
        if true_ids:
            at = f"image {image_id} in '{pred_json_file}'"
            predicted = [{**s, "category_id": category_in(true_ids, s, at)} for s in predicted]
        return [
            (joint_histogram(where(image_id), gt_map, pred_map), segments, predicted)
            for gt_map, segments in gt.read(image_id)
        ]

    pairs = map_with_progress(
        read,
        gt.annotations,
        workers=os.cpu_count() or 1,
        description="Panoptic quality",
        threads=True,
    )
    for image_id, found in zip(gt.annotations, pairs, strict=True):
        for overlaps, segments, predicted in found:
            quality.add_overlaps(where(image_id), overlaps, segments, predicted)
    return quality


def _true_ids(gt: PanopticFiles, pred: PanopticFiles) -> dict[int | str, int | str]:
    """The ground truth's ids of the categories of the predictions; empty if these list none."""
    if not pred.content.get("categories"):
        return {}
    owners = f"'{pred.json_file}'", f"'{gt.json_file}'"
    aligned = align_categories(pred.categories, gt.categories, *owners)
    ids = {ours["id"]: true["id"] for ours, true in zip(aligned, gt.categories, strict=True)}
    if any(ours != true for ours, true in ids.items()):
        logger.warning("The categories of %s have other ids than %s: their names decide.", *owners)
    return ids
