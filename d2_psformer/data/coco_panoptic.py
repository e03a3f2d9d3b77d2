"""Data in COCO-panoptic layout: one JSON, a folder of PNGs of segment ids, a folder of images."""

import functools
import logging
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..classes import Classes
from ..utils.errors import UserError
from ..utils.wording import counted
from .files import IMAGE_EXTENSIONS, FolderIndex
from .panoptic_json import check_categories, read_panoptic_json, repeated
from .panoptic_png import read_panoptic_png

logger = logging.getLogger(__name__)


class PanopticFiles:
    """A COCO-panoptic JSON and, image by image, the PNGs that belong to it.

    Args:
        json_file: path of the JSON.
        png_folder: folder of the PNGs; by default the JSON's path without ``.json``.

    Attributes:
        content: of the JSON, see :func:`.read_panoptic_json`.

    Raises:
        UserError: the JSON is missing or of another format; when a PNG is asked for, it or the
            folder is missing.
    """

    def __init__(self, json_file: str | os.PathLike, png_folder: str | os.PathLike | None = None):
        self.json_file = os.fspath(json_file)
        self.content = read_panoptic_json(json_file)
        self._png_folder = png_folder or os.path.splitext(json_file)[0]

    @functools.cached_property
    def annotations(self) -> dict[str, list[dict]]:
        """The annotations of each image by its id as a text: loaders differ in the type they keep.

        Raises:
            UserError: the JSON has no ``annotations``.
        """
        if "annotations" not in self.content:
            raise UserError(
                f"'{self.json_file}' has no 'annotations': give a JSON in the COCO-panoptic format."
            )
        by_image: dict[str, list[dict]] = {}
        for annotation in self.content["annotations"]:
            by_image.setdefault(str(annotation["image_id"]), []).append(annotation)
        return by_image

    @functools.cached_property
    def categories(self) -> list[dict]:
        """The JSON's categories.

        Raises:
            UserError: it has none, as predictions may, or they are of another format.
        """
        check_categories(self.content.get("categories"), f"'{self.json_file}'")
        return self.content["categories"]

    @functools.cached_property
    def _pngs(self) -> FolderIndex:
        return FolderIndex(self._png_folder)

    def png_path(self, annotation: dict) -> str:
        path = self._pngs.find(annotation["file_name"], (".png",))
        if path is None:
            raise UserError(
                f"Panoptic PNG '{annotation['file_name']}' of image {annotation['image_id']} in "
                f"'{self.json_file}' is not in '{self._pngs.folder}': name the folder that holds "
                "it."
            )
        return path

    def read(self, image_id: int | str) -> list[tuple[np.ndarray, list[dict]]]:
        """Segment ids, int32 (H, W), and ``segments_info`` of every annotation of one image.

        Raises:
            UserError: the image has no annotation, or its PNG is missing or cannot be read.
        """
        if str(image_id) not in self.annotations:
            raise UserError(
                f"Image {image_id} has no annotation in '{self.json_file}': evaluate on the data "
                "set that this file describes."
            )
        return [
            (read_panoptic_png(self.png_path(annotation)), annotation["segments_info"])
            for annotation in self.annotations[str(image_id)]
        ]


def load_records(
    files: PanopticFiles, image_folder: str | os.PathLike, metadata: dict[str, Any]
) -> list[dict[str, Any]]:
    """Read the records that Detectron2's panoptic models and evaluators expect.

    Args:
        files: annotations and, unless the image files are named like the PNGs, ``images``; data
            without ground truth has ``images`` alone.
        image_folder: folder of the images; sub-folders are searched too.
        metadata: of the classes; not looked at without ground truth.

    Returns:
        one dict per annotated image: ``file_name``, ``image_id`` (as in the JSON),
        ``pan_seg_file_name``, ``segments_info`` (those of the JSON with contiguous ``category_id``
        and with ``isthing``, ``iscrowd``), and ``height``, ``width`` if the JSON has them.
        Without any annotation one dict per image, without ``pan_seg_file_name`` and
        ``segments_info``: enough to predict, not to train.

    Raises:
        UserError: a folder, an image or a PNG is missing, a category is not in the metadata, or an
            image is listed twice.
    """
    source = files.json_file
    images, annotations = (files.content.get(key, []) for key in ("images", "annotations"))
    if not annotations and not images:
        raise UserError(
            f"'{source}' has neither 'annotations' nor 'images': is it a COCO-panoptic JSON?"
        )
    for entries, key, name in ((images, "id", "images"), (annotations, "image_id", "annotations")):
        if again := repeated(entry[key] for entry in entries):
            raise UserError(f"Image {again[0]!r} is twice in '{name}' of '{source}': keep one.")
    folder = FolderIndex(image_folder)
    if not annotations:
        logger.info("Loaded %s without ground truth from %s", counted(len(images), "image"), source)
        return [_image_record(image, image["id"], folder, source) for image in images]
    classes, by_id = Classes.from_metadata(metadata), {str(image["id"]): image for image in images}
    contiguous = {category: i for i, category in classes.category_ids.items()}
    records = []
    for annotation in annotations:
        named = {"file_name": annotation["file_name"]}
        image = named | by_id.get(str(annotation["image_id"]), {})
        record = _image_record(image, annotation["image_id"], folder, source)
        record["pan_seg_file_name"] = files.png_path(annotation)
        where = f"'{annotation['file_name']}' in '{source}'"
        record["segments_info"] = [
            _contiguous(segment, contiguous, classes.thing_ids, where)
            for segment in annotation["segments_info"]
        ]
        records.append(record)
    logger.info("Loaded %s with annotation from %s", counted(len(records), "image"), source)
    if len(images) > len(records):
        left_out = counted(len(images) - len(records), "image")
        logger.info("%s without annotation left out", left_out)
    return records


def _image_record(image: dict, image_id: int | str, folder: FolderIndex, source: str) -> dict:
    path = folder.find(image["file_name"], IMAGE_EXTENSIONS)
    if path is None:
        raise UserError(
            f"Image '{image['file_name']}' of '{source}' is not in '{folder.folder}', under no "
            "known extension: check the image folder."
        )
    size = {key: image[key] for key in ("height", "width") if key in image}
    return {"file_name": path, "image_id": image_id, **size}


def _contiguous(segment: dict, contiguous: dict, thing_ids: tuple[int, ...], where: str) -> dict:
    """A segment with its contiguous ``category_id``, ``isthing`` and ``iscrowd``."""
    category_id = category_in(contiguous, segment, where)
    isthing, iscrowd = category_id in thing_ids, int(segment.get("iscrowd", 0))
    return {**segment, "category_id": category_id, "isthing": isthing, "iscrowd": iscrowd}


def category_in(table: Mapping[int | str, Any], segment: dict, where: str) -> Any:
    """What a table by category id holds for a segment.

    Raises:
        UserError: its category is not there; the segment and ``where`` are named.
    """
    category_id = segment["category_id"]
    if category_id not in table:
        raise UserError(
            f"Segment {segment['id']} of {where} has category {category_id!r}, which the "
            "categories of the data set lack: add it to 'categories' or correct the segment."
        )
    return table[category_id]


def read_categories(panoptic_json: str) -> list[dict[str, Any]] | None:
    """The categories in a COCO-panoptic JSON, None if it has none that are things or stuff.

    Raises:
        UserError: the JSON is missing or of another format.
    """
    status = os.stat(panoptic_json)
    return _categories_of_version(panoptic_json, status.st_mtime_ns, status.st_size)


@functools.lru_cache
def _categories_of_version(panoptic_json: str, *version: int) -> list[dict[str, Any]] | None:
    files = PanopticFiles(panoptic_json)
    if not files.content.get("categories") or "annotations" not in files.content:
        return None
    return files.categories
