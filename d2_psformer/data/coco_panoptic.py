"""Records of a data set in COCO-panoptic layout: one JSON, a folder of images, one of PNGs."""

import functools
import logging
import os
from typing import Any

from ..utils.errors import UserError
from .files import IMAGE_EXTENSIONS, FolderIndex
from .panoptic_json import check_categories, read_panoptic_json

logger = logging.getLogger(__name__)


def load_coco_panoptic(
    panoptic_json: str,
    images: str,
    panoptic_folder: str,
    metadata: dict[str, Any],
) -> list[dict[str, Any]]:
    """Read the records that Detectron2's panoptic models and evaluators expect.

    Args:
        panoptic_json: path of a JSON with ``annotations`` and, unless the image files are named
            like the PNGs, ``images``; data without ground truth has ``images`` alone. See
            :func:`.panoptic_json.read_panoptic_json`.
        images: folder of the images; sub-folders are searched too.
        panoptic_folder: folder of the PNGs with segment ids; not looked at without ground truth.
        metadata: has ``thing_dataset_id_to_contiguous_id`` and
            ``stuff_dataset_id_to_contiguous_id``.

    Returns:
        one dict per annotated image: ``file_name``, ``image_id`` (as in the JSON),
        ``pan_seg_file_name``, ``segments_info`` (those of the JSON with contiguous ``category_id``
        and with ``isthing``, ``iscrowd``), and ``height``, ``width`` if the JSON tells them.
        Without any annotation one dict per image, without ``pan_seg_file_name`` and
        ``segments_info``: enough to predict, not to train.

    Raises:
        FileNotFoundError: the JSON, a folder, an image or a PNG is missing.
        ValueError: a category outside the metadata, a doubled image, or a JSON of another format.
    """
    content = read_panoptic_json(panoptic_json)
    entries, annotations = content.get("images", []), content.get("annotations", [])
    if annotations:
        loader = _Loader(panoptic_json, images, panoptic_folder, metadata)
        return loader.load(entries, annotations)
    if entries:
        return _load_images(panoptic_json, images, entries)
    raise UserError(
        f"'{panoptic_json}' has neither 'annotations' nor 'images': is it a COCO-panoptic JSON?"
    )


def read_categories(panoptic_json: str) -> list[dict[str, Any]] | None:
    """The categories in a COCO-panoptic JSON, None if it has none that are things or stuff.

    Raises:
        FileNotFoundError, ValueError: as :func:`load_coco_panoptic`.
    """
    status = os.stat(panoptic_json)
    return _categories_of_version(panoptic_json, status.st_mtime_ns, status.st_size)


@functools.lru_cache
def _categories_of_version(panoptic_json: str, *version: int) -> list[dict[str, Any]] | None:
    content = read_panoptic_json(panoptic_json)
    categories = content.get("categories")
    if not categories or "annotations" not in content:
        return None
    check_categories(categories, f"'{panoptic_json}'")
    return categories


def _load_images(source: str, folder: str, entries: list[dict]) -> list[dict]:
    """Records of data without ground truth."""
    _refuse_doubles(entries, "id", f"'images' of '{source}'")
    images = FolderIndex(folder)
    records = [
        {
            "file_name": _find_image(images, entry["file_name"], source),
            "image_id": entry["id"],
            **_size(entry),
        }
        for entry in entries
    ]
    logger.info("Loaded %d images without ground truth from %s", len(records), source)
    return records


def _find_image(images: FolderIndex, name: str, source: str) -> str:
    path = images.find(name, IMAGE_EXTENSIONS)
    if path is None:
        raise UserError(
            f"Image '{name}' of '{source}' is not in '{images.folder}', under no known extension: "
            "check the image folder."
        )
    return path


def _size(entry: dict) -> dict[str, int]:
    return {key: entry[key] for key in ("height", "width") if key in entry}


def _refuse_doubles(entries: list[dict], key: str, where: str) -> None:
    seen = set()
    for entry in entries:
        if entry[key] in seen:
            raise UserError(f"Image {entry[key]!r} is twice in {where}: keep one.")
        seen.add(entry[key])


class _Loader:
    """What all records of one annotated data set share."""

    def __init__(self, panoptic_json, images, panoptic_folder, metadata):
        self.source = panoptic_json
        self.images = FolderIndex(images)
        self.maps = FolderIndex(panoptic_folder)
        self.things = metadata["thing_dataset_id_to_contiguous_id"]
        self.contiguous = {**metadata["stuff_dataset_id_to_contiguous_id"], **self.things}

    def load(self, images: list[dict], annotations: list[dict]) -> list[dict]:
        _refuse_doubles(images, "id", f"'images' of '{self.source}'")
        _refuse_doubles(annotations, "image_id", f"'annotations' of '{self.source}'")
        entries = {str(image["id"]): image for image in images}
        records = [self._record(a, entries.get(str(a["image_id"]), {})) for a in annotations]
        logger.info("Loaded %d images with annotation from %s", len(records), self.source)
        if len(images) > len(records):
            logger.info("%d images without annotation left out", len(images) - len(records))
        return records

    def _record(self, annotation: dict, entry: dict) -> dict:
        name = entry.get("file_name", annotation["file_name"])
        return {
            "file_name": _find_image(self.images, name, self.source),
            "image_id": annotation["image_id"],
            "pan_seg_file_name": self._map_file(annotation),
            "segments_info": self._segments(annotation),
            **_size(entry),
        }

    def _map_file(self, annotation: dict) -> str:
        path = self.maps.find(annotation["file_name"], (".png",))
        if path is None:
            raise UserError(
                f"Panoptic PNG '{annotation['file_name']}' of '{self.source}' is not in "
                f"'{self.maps.folder}': check the panoptic folder."
            )
        return path

    def _segments(self, annotation: dict) -> list[dict]:
        where = f"of '{annotation['file_name']}' in '{os.fspath(self.source)}'"
        segments = []
        for segment in annotation["segments_info"]:
            category = segment["category_id"]
            if category not in self.contiguous:
                raise UserError(
                    f"Segment {segment['id']} {where} has category {category!r}, which the data "
                    "set's metadata does not have: add it to 'categories' or correct the segment."
                )
            segments.append(
                {
                    **segment,
                    "category_id": self.contiguous[category],
                    "isthing": category in self.things,
                    "iscrowd": int(segment.get("iscrowd", 0)),
                }
            )
        return segments
