"""Shapes that people draw, and how they become segments that do not overlap.

The rule where shapes overlap: a pixel belongs to the shape on the highest layer (CVAT's z-order;
all other formats have one layer); within a layer to a thing before a crowd, and to these before
stuff; then to the smaller shape; of equal ones to the later in the file. A shape without a pixel of
its own is left out.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as mask_util

from ...utils.errors import UserError
from ...utils.wording import counted
from .records import Segment, Size

_CORNERS = 64  # of a circle: the polygon's area is 0.2 % smaller


@dataclass(frozen=True)
class Shape:
    """One object as it was drawn.

    Attributes:
        class_name: of the category.
        codes: run-length codes of pycocotools, whose union is the object.
        iscrowd: it is a group of objects.
        layer: a higher one lies on top.
        group: shapes of one class and group are one object; None for an object of its own.
        score: of a prediction.
    """

    class_name: str
    codes: Sequence[dict[str, Any]]
    iscrowd: bool = False
    layer: int = 0
    group: Any = None
    score: float | None = None


def paint(
    shapes: Iterable[Shape], size: Size, stuff: Collection[str]
) -> tuple[np.ndarray, list[Segment]]:
    """Draw shapes by the rule of this module.

    Args:
        size: height and width of the image.
        stuff: names of the stuff classes.

    Returns:
        int32 (H, W), 0 where there is no shape, and the segments in the order of drawing, among
        them hidden ones.
    """
    merged = [(shape, mask_util.merge(list(shape.codes))) for shape in _grouped(shapes)]

    def height(pair: tuple[Shape, dict]) -> tuple:
        shape, code = pair
        is_thing = shape.class_name not in stuff
        return shape.layer, is_thing, not shape.iscrowd, -int(mask_util.area(code))

    ids, segments = np.zeros(size, np.int32), []
    for number, (shape, code) in enumerate(sorted(merged, key=height), start=1):
        ids[mask_util.decode(code).astype(bool)] = number
        segments.append(Segment(number, shape.class_name, shape.iscrowd, shape.score))
    return ids, segments


def _grouped(shapes: Iterable[Shape]) -> list[Shape]:
    """Shapes with those of one group joined, at the place and layer of the last."""
    groups: dict[Any, list[Shape]] = {}
    for place, shape in enumerate(shapes):
        key = place if shape.group is None else (shape.class_name, shape.group)
        groups.setdefault(key, []).append(shape)
    return [
        Shape(last.class_name, [code for s in group for code in s.codes], last.iscrowd, last.layer)
        if len(group) > 1
        else last
        for group in groups.values()
        for last in group[-1:]
    ]


def polygon(points: Any, size: Size, where: str) -> list[dict]:
    """The code of a polygon, rasterised as COCO does.

    Args:
        points: [[x, y], ...] in pixels.
        size: height and width of the image.
        where: names the file and the shape in errors.

    Raises:
        UserError: there are fewer than three points, or they are no finite pairs of numbers.
    """
    corners = _pairs(points, where)
    if len(corners) < 3:
        raise UserError(
            f"{where} is a polygon of {counted(len(corners), 'point')}: draw 3 or more."
        )
    if np.abs(corners).max() > 10 * max(size):  # drawing takes time and memory by the pixel
        raise UserError(
            f"{where} reaches to {np.abs(corners).max():.0f}, far beyond the image of {size[1]} x "
            f"{size[0]}: draw it again."
        )
    return mask_util.frPyObjects([corners.ravel().tolist()], *size)


def box(points: Any, size: Size, where: str) -> list[dict]:
    """The code of the rectangle of two opposite corners."""
    corners = _pairs(points, where)
    if len(corners) != 2:
        raise UserError(
            f"{where} is a rectangle of {counted(len(corners), 'point')}: draw 2 corners."
        )
    (x0, y0), (x1, y1) = corners.tolist()
    return polygon([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], size, where)


def ellipse(center: Any, radii: Any, size: Size, where: str, turned: float = 0) -> list[dict]:
    """The code of an ellipse.

    Args:
        center: x, y in pixels.
        radii: half of the width and of the height in pixels.
        turned: clockwise, in degrees.
    """
    (center, radii), angle = _pairs([center, radii], where), math.radians(turned)
    turns = np.linspace(0, 2 * math.pi, _CORNERS, endpoint=False)
    points = np.stack([np.cos(turns), np.sin(turns)], axis=1) * radii
    return polygon(rotated(points, angle) + center, size, where)


def rotated(points: np.ndarray, angle: float) -> np.ndarray:
    """Points (N, 2) turned about 0, 0, clockwise as y points down, by an angle in radians."""
    cos, sin = math.cos(angle), math.sin(angle)
    return points @ np.array([[cos, sin], [-sin, cos]])


def pasted(mask: np.ndarray, left: int, top: int, size: Size, where: str) -> list[dict]:
    """The code of a mask whose upper left pixel is at ``left``, ``top``.

    Raises:
        UserError: it reaches beyond the image.
    """
    height, width = mask.shape
    if min(left, top) < 0 or top + height > size[0] or left + width > size[1]:
        raise UserError(
            f"{where} is a mask of {width} x {height} pixels at {left}, {top}, which reaches "
            f"beyond the image of {size[1]} x {size[0]}: draw it again."
        )
    whole = np.zeros(size, np.uint8, order="F")
    whole[top : top + height, left : left + width] = mask
    return [mask_util.encode(whole)]


def _pairs(points: Any, where: str) -> np.ndarray:
    """float64 (N, 2)."""
    try:
        pairs = np.array(points, np.float64)
    except (TypeError, ValueError, OverflowError):
        pairs = np.array(math.nan)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not np.isfinite(pairs).all():
        raise UserError(f"{where} has points that are no pairs of finite numbers: draw it again.")
    return pairs
