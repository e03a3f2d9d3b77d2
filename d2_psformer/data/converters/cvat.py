"""CVAT for images: one XML with the polygons, boxes, ellipses and masks of all images."""

import logging
from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element, ParseError

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import iterparse

from ...utils.errors import UserError
from ..files import FolderIndex
from .records import (
    LabelledImage,
    Size,
    Source,
    check_label,
    checked_size,
    find_image,
    thing_categories,
)
from .shapes import Shape, ellipse, paint, pasted, polygon, rotated

logger = logging.getLogger(__name__)

_WITHOUT_AREA = {"polyline", "points", "skeleton", "cuboid"}
Drawn = tuple[str, dict[str, str]]  # an element's name and its attributes


class CvatImages:
    """``annotations.xml``, read image by image: the file may be larger than the memory.

    Shapes of one label and ``group_id`` are one object. Elements of an image that are no shapes
    (tags) are not looked at, and shapes without an area are left out.

    Raises:
        UserError: the file is not XML, or names no labels.
    """

    takes_folder, uses = False, ("classes", "stuff")

    def __init__(self, source: Source):
        self._path = source.path
        self.images = source.image_folder()
        self._index = FolderIndex(self.images)
        self.categories = (
            thing_categories(source.classes) if source.classes else _labels(source.path)
        )
        self._names = [category["name"] for category in self.categories]
        self._stuff = source.stuff or ()

    def items(self) -> Iterator[tuple[str, tuple[dict[str, str], list[Drawn]]]]:
        for element in _elements(self._path, "image"):
            drawn = [(child.tag, dict(child.attrib)) for child in element]
            yield element.get("name", ""), (dict(element.attrib), drawn)

    def read(self, item: tuple[dict[str, str], list[Drawn]]) -> LabelledImage:
        attributes, drawn = item
        name = attributes.get("name", "")
        where = f"image '{name}' of '{self._path}'"
        stated = _number(attributes, "height", where), _number(attributes, "width", where)
        path = find_image(self._index, name, f"'{self._path}'")
        size = checked_size(path, tuple(map(int, stated)), where)
        shapes = []
        for place, (kind, values) in enumerate(drawn):
            this = f"Shape {place + 1} ({kind}) of {where}"
            if kind in _WITHOUT_AREA:
                logger.warning("%s has no area: left out", this)
            elif kind in _CODES:
                label = values.get("label", "")
                check_label(label, self._names, this)
                codes = _CODES[kind](values, size, this)
                layer = int(_number({"z_order": "0", **values}, "z_order", this))
                group = values.get("group_id", "0")
                group = None if group == "0" else group
                shapes.append(Shape(label, codes, layer=layer, group=group))
        return LabelledImage(path, *paint(shapes, size, self._stuff))


def _labels(path: Any) -> list[dict[str, Any]]:
    """The labels of the task, with their colours, or else those of the shapes."""
    categories, found = [], set()
    for element in _elements(path, "label", "image"):
        if element.tag == "label":
            category = {"name": element.findtext("name") or "", "isthing": 1}
            if color := element.findtext("color"):
                category["color"] = color
            categories.append(category)
        else:
            found |= {child.get("label") for child in element if child.tag in _CODES} - {None}
    if not categories and not found:
        raise UserError(f"'{path}' names no labels: export it as 'CVAT for images'.")
    return categories or thing_categories(sorted(found))


def _elements(path: Any, *tags: str) -> Iterator[Element]:
    """The elements of these tags, each freed when the next one is asked for."""
    try:
        root = None
        for event, element in iterparse(path, events=("start", "end"), forbid_dtd=True):
            root = element if root is None else root
            if event == "end" and element.tag in tags:
                yield element
            if event == "end" and element.tag == "image":
                root.clear()
    except ParseError as error:
        raise UserError(f"'{path}' is not valid XML ({error}): export it again.") from error
    except DefusedXmlException as error:
        raise UserError(
            f"'{path}' has a document type or entities, which CVAT does not write: export it again."
        ) from error


def _number(values: dict[str, str], key: str, where: str) -> float:
    try:
        number = float(values[key])
    except (KeyError, ValueError) as error:
        raise UserError(
            f"{where} has the '{key}' {values.get(key)!r}: write a number, or export it again."
        ) from error
    if not np.isfinite(number):
        raise UserError(f"{where} has the '{key}' {values[key]!r}: write a finite number.")
    return number


def _polygon(values: dict[str, str], size: Size, where: str) -> list[dict]:
    pairs = [pair.split(",") for pair in values.get("points", "").split(";")]
    return polygon(pairs, size, where)


def _box(values: dict[str, str], size: Size, where: str) -> list[dict]:
    x0, y0, x1, y1 = (_number(values, key, where) for key in ("xtl", "ytl", "xbr", "ybr"))
    angle = np.radians(_number({"rotation": "0", **values}, "rotation", where))
    center = np.array([x0 + x1, y0 + y1]) / 2
    corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]) - center
    return polygon(rotated(corners, angle) + center, size, where)


def _ellipse(values: dict[str, str], size: Size, where: str) -> list[dict]:
    cx, cy, rx, ry = (_number(values, key, where) for key in ("cx", "cy", "rx", "ry"))
    turned = _number({"rotation": "0", **values}, "rotation", where)
    return ellipse((cx, cy), (rx, ry), size, where, turned)


def _mask(values: dict[str, str], size: Size, where: str) -> list[dict]:
    """``rle`` counts pixels row by row inside its box, those outside of the object first."""
    keys = ("left", "top", "width", "height")
    left, top, width, height = (int(_number(values, key, where)) for key in keys)
    try:
        counts = np.array(values.get("rle", "").split(","), np.int64)
    except ValueError:
        counts = np.array([-1])
    fits = 0 < height <= size[0] and 0 < width <= size[1]
    if not fits or (counts < 0).any() or counts.sum() != width * height:
        raise UserError(
            f"{where} has an 'rle' that does not fill a box in the image: export it again."
        )
    inside = np.arange(len(counts)) % 2 == 1
    mask = np.repeat(inside, counts).reshape(height, width)
    return pasted(mask, left, top, size, where)


_CODES = {"polygon": _polygon, "box": _box, "ellipse": _ellipse, "mask": _mask}
