"""Masks and boxes in their many forms as arrays, and where to put a label on them."""

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import pycocotools.mask as mask_util
import torch

from ..structures import BitMasks, Boxes, polygons_to_bitmask


def to_array(boxes: Boxes | torch.Tensor | np.ndarray | Sequence) -> np.ndarray:
    """Boxes as a float array (N,4)."""
    if isinstance(boxes, Boxes):
        boxes = boxes.tensor
    if isinstance(boxes, torch.Tensor):
        boxes = boxes.detach().cpu()
    return np.asarray(boxes, dtype=float).reshape(-1, 4)


def to_bitmaps(
    masks: BitMasks | torch.Tensor | np.ndarray | Sequence[Any], height: int, width: int
) -> np.ndarray:
    """Masks as a bool array (N,H,W); each is a bitmap, an RLE or a list of polygons."""
    bitmaps = np.zeros((len(masks), height, width), dtype=bool)
    for bitmap, mask in zip(bitmaps, masks, strict=True):
        if isinstance(mask, list):
            bitmap[:] = polygons_to_bitmask(mask, height, width)
        elif isinstance(mask, Mapping):
            compressed = isinstance(mask["counts"], (str, bytes))
            code = mask if compressed else mask_util.frPyObjects(mask, height, width)
            bitmap[:] = mask_util.decode(code)
        else:
            bitmap[:] = mask.cpu() if isinstance(mask, torch.Tensor) else mask
    return bitmaps


def area(region: np.ndarray) -> float:
    """Pixels of a mask (H,W), or area of a box (4,)."""
    if region.ndim == 2:
        return float(region.sum())
    return float((region[2] - region[0]) * (region[3] - region[1]))


def bounding_box(region: np.ndarray) -> tuple[float, float, float, float]:
    """XYXY of a mask (H,W), or the box (4,) itself."""
    if region.ndim == 1:
        return tuple(region)
    x, y, width, height = cv2.boundingRect(region.astype(np.uint8))
    return x, y, x + width, y + height


def iou(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> np.ndarray:
    """Intersection over union (N,M) of N and M regions, all of them masks or all boxes."""
    if len(first) == 0 or len(second) == 0:
        return np.zeros((len(first), len(second)))
    codes = [[_code(region) for region in regions] for regions in (first, second)]
    return np.asarray(mask_util.iou(*codes, [0] * len(second)))


def _code(region: np.ndarray) -> Any:
    if region.ndim == 2:
        return mask_util.encode(np.asfortranarray(region, dtype=np.uint8))
    x0, y0, x1, y1 = region
    return [x0, y0, x1 - x0, y1 - y0]


def deepest_point(mask: np.ndarray) -> np.ndarray:
    """(x, y) well inside the thickest part of a mask: where a label hides no border."""
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    inner = np.argwhere(depth >= 0.8 * depth.max())
    distance = np.abs(inner - np.median(inner, axis=0)).sum(axis=1)
    return inner[distance.argmin()][::-1]
