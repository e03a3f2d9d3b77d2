"""Labelme: one JSON per image with polygons, rectangles, circles and masks."""

import base64
import io
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np

from ...utils.errors import UserError
from ...utils.files import read_json
from ..decoding import open_image
from ..files import FolderIndex
from ..panoptic_json import is_length, is_text
from .records import (
    LabelledImage,
    Size,
    Source,
    check_label,
    checked_size,
    find_image,
    stamped,
    thing_categories,
)
from .shapes import Shape, box, ellipse, paint, pasted, polygon

logger = logging.getLogger(__name__)

# Shapes without an area are for other tasks.
_WITHOUT_AREA = {"point", "points", "line", "linestrip"}


class Labelme:
    """A folder of Labelme's JSON files; the images lie beside them or in a folder of their own.

    Shapes of one label and ``group_id`` are one object. Images without a JSON are left out.

    Raises:
        UserError: the folder has no JSON, or one of them is of another format.
    """

    takes_folder, uses = True, ("classes", "stuff")

    def __init__(self, source: Source):
        folder = FolderIndex(source.path)
        self._files = [Path(folder.folder, path) for path in folder.paths(".json")]
        if not self._files:
            raise UserError(f"Folder '{source.path}' has no *.json: name that of Labelme's files.")
        self.images = source.image_folder(source.path)
        self._index = FolderIndex(self.images)
        self.categories = thing_categories(source.classes or self._labels())
        self._names = [category["name"] for category in self.categories]
        self._stuff = source.stuff or ()

    def _labels(self) -> list[str]:
        contents = map(_read, self._files)
        return sorted({shape["label"] for content in contents for shape in content["shapes"]})

    def items(self) -> list[tuple[str, Path]]:
        return [(stamped(path), path) for path in self._files]

    def read(self, item: Path) -> LabelledImage:
        content, where = _read(item), f"'{item}'"
        path = find_image(self._index, content["imagePath"], where)
        size = checked_size(path, (content["imageHeight"], content["imageWidth"]), where)
        shapes = []
        for place, drawn in enumerate(content["shapes"]):
            this = f"shapes[{place}] of {where}"
            check_label(drawn["label"], self._names, this)
            if codes := _codes(drawn, size, this):
                shapes.append(Shape(drawn["label"], codes, group=drawn.get("group_id")))
        return LabelledImage(path, *paint(shapes, size, self._stuff))


def _read(path: Path) -> dict[str, Any]:
    content = read_json(path)
    keys = ("imagePath", is_text), ("imageHeight", is_length), ("imageWidth", is_length)
    for key, fits in keys:
        if not isinstance(content, dict) or not fits(content.get(key)):
            raise UserError(f"'{path}' has no sound '{key}': is it a file of Labelme?")
    shapes = content.get("shapes")
    if not isinstance(shapes, list):
        raise UserError(f"'{path}' has no list 'shapes': is it a file of Labelme?")
    for place, shape in enumerate(shapes):
        if not isinstance(shape, dict) or not is_text(shape.get("label")):
            raise UserError(f"shapes[{place}] of '{path}' has no 'label': give it its class.")
        if not isinstance(shape.get("group_id"), int | str | None):
            raise UserError(f"'group_id' of shapes[{place}] of '{path}' is no number: correct it.")
    return content


def _codes(shape: dict[str, Any], size: Size, where: str) -> list[dict] | None:
    kind, points = str(shape.get("shape_type") or "polygon"), shape.get("points")
    if kind == "polygon":
        return polygon(points, size, where)
    if kind == "rectangle":
        return box(points, size, where)
    if kind == "circle":
        return _circle(points, size, where)
    if kind == "mask":
        return _mask(shape.get("mask"), points, size, where)
    if kind not in _WITHOUT_AREA:
        raise UserError(
            f"{where} is of the kind '{kind}': draw a polygon, rectangle, circle or mask instead."
        )
    logger.warning("%s is a %s, which has no area: left out", where, kind)
    return None


def _circle(points: Any, size: Size, where: str) -> list[dict]:
    """The first point is the centre, the second is on the circle."""
    try:
        center, border = points
        radius = math.dist(center, border)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where} is a circle without two points: draw it again.") from error
    return ellipse(center, (radius, radius), size, where)


def _mask(text: Any, points: Any, size: Size, where: str) -> list[dict]:
    """A PNG in base64, placed by its first corner."""
    try:
        data, (left, top) = base64.b64decode(text, validate=True), map(round, points[0])
    except (TypeError, ValueError, IndexError, OverflowError) as error:
        raise UserError(f"{where} has no mask as base64 and its corner: draw it again.") from error
    with open_image(io.BytesIO(data), f"The mask of {where}") as image:
        mask = np.asarray(image.convert("L")) > 0
    return pasted(mask, left, top, size, where)
