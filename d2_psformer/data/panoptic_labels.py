"""Semantic and instance ground truth derived from panoptic annotation (for mIoU and AP)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as mask_util

from ..utils.errors import UserError
from .segments import label_segments, segment_areas, segment_boxes, segment_masks


def semantic_from_panoptic(
    ids: np.ndarray, segments_info: Sequence[dict[str, Any]], ignore_label: int = 255
) -> np.ndarray:
    """Class of every pixel.

    Args:
        ids: integers (H, W), segment ids.
        segments_info: dicts with ``id`` and ``category_id``. A crowd counts as its class.
        ignore_label: what void and unlisted ids become.

    Returns:
        (H, W), uint8, or uint16 if a class or ``ignore_label`` is above 255.

    Raises:
        UserError: a class has the number ``ignore_label``.
    """
    classes = [segment["category_id"] for segment in segments_info]
    if ignore_label in classes:
        raise UserError(
            f"Class {ignore_label} has the number that stands for ignored pixels: set the data "
            "set's ignore_label to one that is no class, e.g. 65535."
        )
    dtype = np.uint8 if max([ignore_label, *classes]) <= 255 else np.uint16
    labels = label_segments(ids, [segment["id"] for segment in segments_info])
    return np.array([ignore_label, *classes], dtype)[labels]


def instances_from_panoptic(
    ids: np.ndarray, segments_info: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """COCO instance annotations of the things, crowds included.

    Args:
        ids: integers (H, W), segment ids.
        segments_info: dicts with ``id``, ``category_id``, ``isthing`` and, if any, ``iscrowd``.

    Returns:
        one dict per thing segment that owns a pixel: ``segment_id``, ``category_id``, ``iscrowd``
        (0 or 1), ``area`` (pixels), ``bbox`` ([x, y, width, height]), ``segmentation`` (compressed
        RLE, ``counts`` as str so that JSON takes it).
    """
    things = [segment for segment in segments_info if segment["isthing"]]
    labels = label_segments(ids, [segment["id"] for segment in things])
    areas = segment_areas(labels, len(things))
    boxes = segment_boxes(labels, len(things))
    masks = segment_masks(labels, len(things)).astype(np.uint8).transpose(1, 2, 0)
    codes = mask_util.encode(np.asfortranarray(masks)) if things else []
    return [
        {
            "segment_id": segment["id"],
            "category_id": segment["category_id"],
            "iscrowd": int(segment.get("iscrowd", 0)),
            "area": int(area),
            "bbox": [int(v) for v in (x0, y0, x1 - x0, y1 - y0)],
            "segmentation": {"size": code["size"], "counts": code["counts"].decode("ascii")},
        }
        for segment, area, (x0, y0, x1, y1), code in zip(things, areas, boxes, codes, strict=True)
        if area
    ]
