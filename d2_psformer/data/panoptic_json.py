"""The COCO-panoptic JSON format, read strictly: what could be meant otherwise is refused.

Python takes more than the format has: the text "0" is true, true is an integer, NaN is a number.
"""

import math
import os
import reprlib
from collections.abc import Callable, Hashable, Iterable
from typing import Any, NamedTuple

import numpy as np

from ..classes import parse_color
from ..utils.errors import UserError
from ..utils.files import read_json
from .panoptic_png import MAX_SEGMENT_ID


def read_panoptic_json(path: str | os.PathLike) -> dict[str, Any]:
    """The content of a COCO-panoptic JSON whose ``images`` and ``annotations`` are sound.

    Either may be missing, and ``images`` may be empty; without annotations each image has a
    ``file_name``. ``categories`` are left to :func:`check_categories`: predictions need none.

    Raises:
        UserError: there is no such file, or an entry and key of it, which are named, are at fault.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(
            f"'{path}' holds {reprlib.repr(content)}: give a JSON object in COCO-panoptic format."
        )
    images, annotations = content.get("images", []), content.get("annotations", [])
    if first_has(annotations, "segmentation"):
        raise UserError(f"'{path}' is in COCO's instance format, not the panoptic one.")
    check_objects(annotations, "annotations", f"'{path}'", _ANNOTATION)
    check_objects(images, "images", f"'{path}'", IMAGE_FIELDS if annotations else _IMAGE)
    check_image_ids([a["image_id"] for a in annotations], f"'annotations' of '{path}'")
    check_image_ids([image["id"] for image in images], f"'images' of '{path}'")
    pixels = {str(i["id"]): i.get("height", math.inf) * i.get("width", math.inf) for i in images}
    for place, annotation in enumerate(annotations):
        image_id, name = annotation["image_id"], annotation["file_name"]
        if images and str(image_id) not in pixels:
            raise UserError(
                f"annotations[{place}] ('{name}') of '{path}' has image_id {image_id!r}, which no "
                "entry of 'images' has: add that image or correct the image_id."
            )
        most = pixels.get(str(image_id), math.inf)
        check_segments(annotation["segments_info"], f"'{name}' in '{path}'", most)
    return content


def first_has(entries: Any, key: str) -> bool:
    """True for a list whose first entry is an object with this key."""
    is_filled = isinstance(entries, list) and len(entries) > 0
    return is_filled and isinstance(entries[0], dict) and key in entries[0]


def check_segments(segments: Any, where: str, most: float = math.inf) -> None:
    """Refuse segments that are not as the format has them, or two of one id.

    Args:
        segments: the ``segments_info`` of one image.
        where: names the image in errors.
        most: the image's number of pixels, infinite if unknown.

    Raises:
        UserError: names ``where``, the segment and the key at fault.
    """
    check_objects(segments, "segments_info", where, _SEGMENT)
    if again := repeated(segment["id"] for segment in segments):
        raise UserError(f"Segment id {again[0]} of {where} is listed twice: give each its own id.")
    for place, segment in enumerate(segments):
        if segment.get("area", 0) > most:
            raise UserError(
                f"'area' of segments_info[{place}] of {where} is {segment['area']}, but the image "
                f"has {most} pixels: correct it."
            )


def check_categories(categories: Any, where: str) -> None:
    """Refuse categories that do not say what is a thing and what is stuff, or two of one id.

    Raises:
        UserError: names ``where``, the category and the key at fault.
    """
    if not categories:
        raise UserError(
            f"{where} has no list 'categories': add an object of id, name and isthing per class."
        )
    check_objects(categories, "categories", where, _CATEGORY)
    if again := repeated(category["id"] for category in categories):
        raise UserError(f"Category id {again[0]!r} is there twice in {where}: give each its own.")


def repeated(values: Iterable[Hashable]) -> list:
    """The values that have occurred before."""
    seen = set()
    return [value for value in values if value in seen or seen.add(value)]


def is_flag(value: Any) -> bool:
    """True for 0, 1, false and true."""
    return isinstance(value, int | np.integer | np.bool_) and 0 <= value <= 1


def is_area(value: Any) -> bool:
    """True for a whole number of at least 0."""
    is_number = is_integer(value) or isinstance(value, float | np.floating)
    return is_number and 0 <= value < math.inf and value % 1 == 0


def is_integer(value: Any) -> bool:
    """True for an integer of Python or NumPy that is no bool."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def is_id(value: Any) -> bool:
    return is_text(value) or (is_integer(value) and abs(value) < 2**63)


def is_length(value: Any) -> bool:
    return is_integer(value) and 0 < value < 2**31


def _is_segment_id(value: Any) -> bool:
    return is_integer(value) and 0 < value <= MAX_SEGMENT_ID


def is_color(value: Any) -> bool:
    return value is None or parse_color(value) is not None


class Field(NamedTuple):
    key: str
    fits: Callable[[Any], bool]
    expected: str
    default: Any = None  # a value that fits, where the key may be missing


IMAGE_FIELDS = (
    Field("id", is_id, "an integer or a text"),
    Field("file_name", is_text, "the name of a file", "as the annotation's"),
    Field("height", is_length, "the image's height, a whole number of pixels", 1),
    Field("width", is_length, "the image's width, a whole number of pixels", 1),
)
_IMAGE = tuple(f._replace(default=None) if f.key == "file_name" else f for f in IMAGE_FIELDS)
_ANNOTATION = (
    Field("image_id", is_id, "the id of the image"),
    Field("file_name", is_text, "the name of the PNG"),
    Field("segments_info", lambda value: isinstance(value, list), "a list of objects"),
)
_SEGMENT = (
    Field("id", _is_segment_id, f"an integer of 1...{MAX_SEGMENT_ID} (0 is void)"),
    Field("category_id", is_id, "the id of the category"),
    Field("iscrowd", is_flag, "1 for a crowd region, else 0", 0),
    Field("area", is_area, "the segment's number of pixels", 0),
)
_CATEGORY = (
    Field("id", is_id, "an integer or a text"),
    Field("name", is_text, "a text"),
    Field("isthing", is_flag, "1 for countable objects, 0 for stuff"),
    Field("color", is_color, "[R, G, B] of 0...255 or '#rrggbb'", [0, 0, 0]),
)


def check_objects(objects: Any, name: str, where: str, fields: tuple[Field, ...]) -> None:
    """Refuse anything but a list of objects with these fields; they may have more."""
    if not isinstance(objects, list):
        raise UserError(f"'{name}' of {where} is {reprlib.repr(objects)}: write a list of objects.")
    for place, entry in enumerate(objects):
        this = f"{name}[{place}] of {where}"
        if not isinstance(entry, dict):
            raise UserError(f"{this} is {reprlib.repr(entry)}: write an object.")
        for key, fits, expected, default in fields:
            if key not in entry and default is None:
                raise UserError(f"{this} lacks '{key}': add {expected}.")
            if not fits(entry.get(key, default)):
                value = reprlib.repr(entry[key])
                raise UserError(f"'{key}' of {this} is {value}: write {expected}.")


def check_image_ids(image_ids: list[int | str], where: str) -> None:
    """Refuse two ids that differ in type alone, because loaders differ in the type they keep."""
    seen: dict[str, int | str] = {}
    for image_id in image_ids:
        known = seen.setdefault(str(image_id), image_id)
        if known != image_id:
            raise UserError(
                f"{where} has the image ids {known!r} and {image_id!r}: write all ids as numbers "
                "or all as texts, and give each image its own."
            )
