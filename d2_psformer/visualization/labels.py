"""Places for the names of segments where they hide little."""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from ..data.segments import segment_areas, segment_boxes

Box = tuple[int, int, int, int]  # left, top, right, bottom; the last two exclusive

_LARGEST_SHARE = 0.25  # of any segment that a label may hide
_BESIDE = 0.05  # what a place beside the segment costs more than one inside


def place_labels(labels: np.ndarray, sizes: Sequence[tuple[int, int]]) -> list[Box | None]:
    """A box for the label of every segment, or None where there is no room for it.

    A label lies in the thickest part of its segment or beside it, covers no other label and never
    more than a part of a segment. Tiny segments, of less than a letter or two, have none.

    Args:
        labels: (H, W), place of the segment + 1; 0 for void.
        sizes: width and height of each label, in pixels.
    """
    count = len(sizes)
    areas, boxes = segment_areas(labels, count), segment_boxes(labels, count)
    free = np.ones(labels.shape, bool)
    placed: list[Box | None] = [None] * count
    for k in np.argsort(-areas, kind="stable").tolist():
        if areas[k] < sizes[k][1] ** 2:
            continue
        costs = {
            place: _cost(labels[_slices(place)], areas, k) + extra
            for place, extra in _candidates(labels, k, boxes[k], sizes[k])
            if free[_slices(place)].all()
        }
        best = min(costs, key=costs.__getitem__, default=None)
        if best is not None and costs[best] <= _LARGEST_SHARE:
            placed[k] = best
            free[_slices(best)] = False
    return placed


def _candidates(
    labels: np.ndarray, k: int, box: np.ndarray, size: tuple[int, int]
) -> Iterator[tuple[Box, float]]:
    """Boxes of ``size`` in the picture for the label of segment ``k``, with their extra costs."""
    height, width = labels.shape
    x0, y0, x1, y1 = box.tolist()
    deep_x, deep_y = _deepest_point(labels[y0:y1, x0:x1] == k + 1)
    half_w, half_h = size[0] // 2, size[1] // 2
    if size[0] > width or size[1] > height:
        return
    for x, y, extra in (
        (x0 + deep_x - half_w, y0 + deep_y - half_h, 0.0),
        ((x0 + x1) // 2 - half_w, y0 - size[1] - 1, _BESIDE),
        ((x0 + x1) // 2 - half_w, y1 + 1, _BESIDE),
        (x1 + 1, (y0 + y1) // 2 - half_h, _BESIDE),
        (x0 - size[0] - 1, (y0 + y1) // 2 - half_h, _BESIDE),
        (x0, y0, _BESIDE),
    ):
        left, top = max(0, min(x, width - size[0])), max(0, min(y, height - size[1]))
        yield (left, top, left + size[0], top + size[1]), extra


def _slices(box: Box) -> tuple[slice, slice]:
    return slice(box[1], box[3]), slice(box[0], box[2])


def _cost(covered: np.ndarray, areas: np.ndarray, own: int) -> float:
    """The largest share of a segment that is hidden; its own counts half."""
    hidden = segment_areas(covered, len(areas))
    shares = hidden / np.maximum(areas, 1)
    shares[own] /= 2
    return float(shares.max())


def _deepest_point(mask: np.ndarray) -> tuple[int, int]:
    """(x, y) of the pixel that is farthest from the border of a mask."""
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return int(x), int(y)
