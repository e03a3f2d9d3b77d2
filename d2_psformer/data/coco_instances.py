"""Instance data in COCO's format: one JSON of polygons or run-length codes, a folder of images."""

import functools
import logging
import math
import os
from collections import defaultdict
from typing import Any

import numpy as np
from pycocotools import mask as mask_util

from ..classes import Classes
from ..d2.structures import BoxMode, polygons_to_bitmask
from ..utils.errors import UserError
from ..utils.files import read_json
from ..utils.wording import counted
from .files import IMAGE_EXTENSIONS, FolderIndex
from .panoptic_json import (
    IMAGE_FIELDS,
    Field,
    check_image_ids,
    check_objects,
    first_has,
    is_flag,
    is_id,
    is_integer,
    is_text,
    repeated,
)
from .run_lengths import check_run_lengths

logger = logging.getLogger(__name__)


def read_instance_json(path: str | os.PathLike) -> dict[str, Any]:
    """The content of a COCO instance JSON whose entries are sound.

    ``annotations`` may be missing, as in COCO's test sets.

    Raises:
        UserError: there is no such file, or an entry and key of it, which are named, are at fault.
    """
    content, where = read_json(path), f"'{path}'"
    if not isinstance(content, dict) or not content.get("images"):
        raise UserError(f"{where} has no list 'images': give a JSON of COCO's instance format.")
    if not content.get("categories"):
        raise UserError(f"{where} has no list 'categories': add id and name of every class.")
    annotations = content.get("annotations", [])
    if first_has(annotations, "segments_info"):
        raise UserError(f"{where} is in COCO's panoptic format, not that of instances.")
    check_objects(content["images"], "images", where, _IMAGE)
    check_objects(content["categories"], "categories", where, _CATEGORY)
    check_objects(annotations, "annotations", where, _ANNOTATION)
    check_image_ids([image["id"] for image in content["images"]], f"'images' of {where}")
    for name in ("images", "categories", "annotations"):
        ids = [entry["id"] for entry in content.get(name, [])]
        if again := repeated(ids):
            raise UserError(f"Id {again[0]!r} is twice in '{name}' of {where}: give each its own.")
        if len({isinstance(id, str) for id in ids}) > 1:  # pycocotools sorts them
            raise UserError(f"Ids in '{name}' of {where} are numbers and texts: make them alike.")
    images = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    categories = {category["id"] for category in content["categories"]}
    for annotation in annotations:
        _check_annotation(annotation, images, categories, where)
    return content


def instance_classes(json_file: str | os.PathLike) -> Classes:
    """The categories of a COCO instance JSON, all things, in the order of their ids.

    Raises:
        UserError: as :func:`read_instance_json`.
    """
    status = os.stat(json_file)
    return _classes_of_version(os.fspath(json_file), status.st_mtime_ns, status.st_size)


@functools.lru_cache
def _classes_of_version(json_file: str, *version: int) -> Classes:
    categories = read_instance_json(json_file)["categories"]
    return Classes.from_categories([{**c, "isthing": 1} for c in categories], things_first=True)


def load_instance_records(metadata: dict[str, Any]) -> list[dict[str, Any]]:
    """Read Detectron2's dicts of the instances.

    Args:
        metadata: ``json_file``, ``image_root`` and the classes.

    Returns:
        One dict per image in the order of the JSON: ``file_name``, ``image_id``, ``height``,
        ``width`` and ``annotations`` (with contiguous ``category_id``); without ground truth
        there are no ``annotations``.

    Raises:
        UserError: the JSON is not sound, an image is missing, or a category is not in the metadata.
    """
    json_file, folder = metadata["json_file"], FolderIndex(metadata["image_root"])
    content = read_instance_json(json_file)
    ids = {id: i for i, id in Classes.from_metadata(metadata).category_ids.items()}
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    objects = defaultdict(list)
    for annotation in content.get("annotations", []):
        image_id, category = annotation["image_id"], annotation["category_id"]
        if category not in ids:
            raise UserError(
                f"Annotation {annotation['id']} of '{json_file}' has category {category!r}, which "
                "the data set's metadata does not have: correct it there or in the file."
            )
        if segmentation := _segmentation(annotation, sizes[image_id]):
            objects[image_id].append(
                {
                    "bbox": annotation["bbox"],
                    "bbox_mode": BoxMode.XYWH_ABS,
                    "category_id": ids[category],
                    "iscrowd": annotation.get("iscrowd", 0),
                    "segmentation": segmentation,
                }
            )
    left_out = len(content.get("annotations", [])) - sum(map(len, objects.values()))
    if left_out:
        logger.warning(
            "Left out of %s: %s without outline", json_file, counted(left_out, "annotation")
        )
    records = []
    for image in content["images"]:
        path = folder.find(image["file_name"], IMAGE_EXTENSIONS)
        if path is None:
            raise UserError(
                f"Image '{image['file_name']}' of '{json_file}' is not in '{folder.folder}', "
                "under no known extension: check the image folder."
            )
        record = {"file_name": path, "image_id": image["id"]}
        record |= {"height": image["height"], "width": image["width"]}
        truth = {"annotations": objects[image["id"]]} if "annotations" in content else {}
        records.append(record | truth)
    logger.info("Loaded %s with instances from %s", counted(len(records), "image"), json_file)
    return records


def decode_outline(outline: dict | list, size: tuple[int, int]) -> np.ndarray:
    """The mask of a record's ``segmentation``, bool (H, W).

    Raises:
        UserError: the run-length code is broken.
    """
    try:
        if isinstance(outline, list):
            return polygons_to_bitmask([np.array(polygon) for polygon in outline], *size)
        return mask_util.decode(outline).astype(bool)
    except (TypeError, ValueError) as error:
        raise UserError(f"A mask cannot be decoded ({error}): write it again.") from error


def usable_outline(outline: dict | list) -> dict | list:
    """The polygons of three corners and more, or the run-length code as it is."""
    is_code = isinstance(outline, dict)
    return outline if is_code else [polygon for polygon in outline if len(polygon) >= 6]


def _segmentation(annotation: dict, size: tuple[int, int]) -> dict | list:
    """Polygons, perhaps none, or a compressed code."""
    outline = usable_outline(annotation["segmentation"])
    is_uncompressed = isinstance(outline, dict) and isinstance(outline["counts"], list)
    return mask_util.frPyObjects(outline, *size) if is_uncompressed else outline


def _check_annotation(annotation: dict, images: dict, categories: set, where: str) -> None:
    this = f"Annotation {annotation['id']} of {where}"
    if annotation["image_id"] not in images:
        raise UserError(
            f"{this} has image_id {annotation['image_id']!r}, which no entry of 'images' has: add "
            "that image or correct the image_id."
        )
    if annotation["category_id"] not in categories:
        raise UserError(
            f"{this} has category_id {annotation['category_id']!r}, which 'categories' does not "
            "list: add it there or correct it."
        )
    outline, size = annotation["segmentation"], images[annotation["image_id"]]
    if isinstance(outline, list):
        _check_polygons(outline, size, this)
        return
    if tuple(outline["size"]) != size:
        raise UserError(
            f"{this} has a mask of size {outline['size']}, but its image is {list(size)} (height, "
            "width): correct one of them."
        )
    if fault := check_run_lengths(outline["counts"], math.prod(size)):
        raise UserError(f"{this} has a mask that cannot be decoded ({fault}): write it again.")


def _check_polygons(polygons: list[list], size: tuple[int, int], this: str) -> None:
    limit = 10 * max(size)  # drawing takes time and memory by the pixel
    for polygon in filter(None, polygons):
        try:
            corners = np.asarray(polygon)
        except ValueError:  # lists inside
            corners = np.asarray(None)
        if corners.ndim != 1 or corners.dtype.kind not in "iuf" or not np.isfinite(corners).all():
            raise UserError(
                f"{this} has a polygon with other coordinates than finite numbers: correct it."
            )
        if np.abs(corners).max() > limit:
            raise UserError(
                f"{this} has an outline that reaches to {np.abs(corners).max():.0f}, far beyond "
                f"its image of {size[1]} x {size[0]}: draw it again."
            )


def _is_number(value: Any) -> bool:
    """True for numbers that a float holds, NaN apart."""
    return (isinstance(value, float) or is_integer(value)) and abs(value) < 2**53


def _is_box(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(map(_is_number, value))


def _is_outline(value: Any) -> bool:
    if isinstance(value, dict):
        size, counts = value.get("size"), value.get("counts")
        return isinstance(size, list) and len(size) == 2 and isinstance(counts, list | str)
    return isinstance(value, list) and all(
        isinstance(polygon, list) and len(polygon) % 2 == 0 for polygon in value
    )


_IMAGE = tuple(field._replace(default=None) for field in IMAGE_FIELDS)
_CATEGORY = (
    Field("id", is_id, "an integer or a text"),
    Field("name", is_text, "a text"),
)
_ANNOTATION = (
    # pycocotools puts it among floats, and takes the id 0 for "no match".
    Field("id", lambda id: is_integer(id) and 0 < id < 2**53, "an integer from 1 to 2**53"),
    Field("image_id", is_id, "the id of the image"),
    Field("category_id", is_id, "the id of the category"),
    Field("bbox", _is_box, "[x, y, width, height] in pixels"),
    Field("area", lambda value: _is_number(value) and value >= 0, "the mask's number of pixels"),
    Field("iscrowd", is_flag, "1 for a crowd region, else 0", 0),
    Field("segmentation", _is_outline, "polygons [[x, y, x, y, ...], ...] or {size, counts}"),
)
