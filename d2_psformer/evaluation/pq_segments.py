"""The segments of one image in a pair of maps, checked and counted."""

import reprlib
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ..data.panoptic_json import is_area, is_flag, is_integer
from ..utils.errors import UserError

VOID = 0
Overlaps = dict[tuple[int, int], int]  # (ground-truth id, predicted id) -> pixels


@dataclass(frozen=True)
class Segment:
    """A segment of a map, which has ``area`` pixels."""

    category_id: int | str
    area: int
    iscrowd: bool


def read_segments(
    image_id: int | str,
    is_truth: bool,
    listed: Iterable[Mapping],
    overlaps: Overlaps,
    categories: Container[int | str],
) -> dict[int, Segment]:
    """The segments of one map by their ids, once the list of them and the map are known to agree.

    Args:
        listed: one dict for each id of the map but 0.
        overlaps: result of :func:`joint_histogram`.
        categories: the ids that a segment's category can have.

    Raises:
        UserError: see ``PanopticQuality.add``.
    """
    side, kind = (0, "ground truth") if is_truth else (1, "prediction")
    areas: dict[int, int] = {}
    pixels = sum(overlaps.values())
    for pair, count in overlaps.items():
        areas[pair[side]] = areas.get(pair[side], 0) + count
    areas.pop(VOID, None)

    segments = {}
    for info in listed:
        segment_id, category_id = integer_id(info, image_id), info.get("category_id")
        where = f"Image {image_id}: {kind} segment {segment_id}"
        if segment_id in segments:
            raise UserError(f"{where} is listed twice in segments_info: list each id once.")
        if segment_id not in areas:
            raise UserError(
                f"{where} is listed in segments_info but owns no pixel of the map: remove it "
                "from the list or correct the map."
            )
        if category_id not in categories:
            raise UserError(
                f"{where} has the unknown category_id {category_id}: use one of the data "
                "set's categories."
            )
        # The reference takes a ground-truth area from the JSON and counts a predicted one.
        stated = info if is_truth else {}
        area, iscrowd = stated.get("area", areas[segment_id]), stated.get("iscrowd", 0)
        if not is_area(area) or area > pixels:
            raise UserError(
                f"{where} has area {area!r}: write its number of pixels, of which the image "
                f"has {pixels}."
            )
        if not is_flag(iscrowd):
            raise UserError(f"{where} has iscrowd {iscrowd!r}: write 1 for a crowd, else 0.")
        segments[segment_id] = Segment(category_id, int(area), bool(iscrowd))
    for segment_id in areas.keys() - segments.keys():
        raise UserError(
            f"Image {image_id}: {kind} segment {segment_id} is in the map but not listed in "
            "segments_info: list it or set its pixels to 0 (void)."
        )
    return segments


def integer_id(segment: Mapping, image_id: int | str) -> int:
    """The ``id`` of a segment, an integer of Python or NumPy, as int.

    Raises:
        UserError: it is something else.
    """
    if not isinstance(segment, Mapping):
        raise UserError(
            f"Image {image_id}: segments_info has {reprlib.repr(segment)}: give dicts with id and "
            "category_id."
        )
    if not is_integer(segment_id := segment.get("id")):
        raise UserError(
            f"Image {image_id}: segments_info has the segment id {segment_id!r}: give integers."
        )
    return int(segment_id)


def joint_histogram(image_id: int | str, gt_map: np.ndarray, pred_map: np.ndarray) -> Overlaps:
    """Pixels of every pair (ground-truth id, predicted id) that occurs in two maps (H, W).

    Ids change rarely along a row, so whole runs of equal pairs are counted, not pixels.

    Raises:
        UserError: maps of different size or not of integers (H, W), or ids out of range.
    """
    if gt_map.shape != pred_map.shape:
        raise UserError(
            f"Image {image_id}: the ground truth has (height, width) {gt_map.shape}, the "
            f"prediction {pred_map.shape}: predict at the annotation's size."
        )
    for kind, ids in (("ground truth", gt_map), ("prediction", pred_map)):
        if ids.ndim != 2 or not np.issubdtype(ids.dtype, np.integer):
            raise UserError(
                f"Image {image_id}: the {kind} has shape {ids.shape} and type {ids.dtype}: give "
                "segment ids as integers (H, W)."
            )
    if gt_map.size == 0:
        return {}
    gt, pred = gt_map.ravel(), pred_map.ravel()
    first = np.ones(gt.size, bool)
    np.not_equal(gt[1:], gt[:-1], out=first[1:])
    first[1:] |= pred[1:] != pred[:-1]
    starts = np.flatnonzero(first)
    gt, pred = gt[starts], pred[starts]
    for kind, ids in (("ground truth", gt), ("prediction", pred)):
        if ids.min() < 0 or ids.max() >= 2**31:
            raise UserError(
                f"Image {image_id}: the {kind} holds segment ids from {ids.min()} to {ids.max()}: "
                "ids must be from 0 to 2147483647."
            )
    pairs = gt.astype(np.int64) << 32 | pred.astype(np.int64)
    lengths = np.diff(starts, append=gt_map.size)
    values = np.unique(pairs)  # few: finding them again is faster than return_inverse
    # Counts are below 2^53, where the floats of a weighted bincount are exact.
    counts = np.bincount(np.searchsorted(values, pairs), weights=lengths).astype(np.int64)
    return {
        (value >> 32, value & 0xFFFFFFFF): count
        for value, count in zip(values.tolist(), counts.tolist(), strict=True)
    }
