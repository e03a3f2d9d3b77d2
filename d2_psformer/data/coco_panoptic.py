"""Records of a data set in COCO-panoptic layout: one JSON, a folder of images, one of PNGs."""

import functools
import logging
import os
from typing import Any

from .category_metadata import check_categories
from .files import IMAGE_EXTENSIONS, FolderIndex, read_json
from .panoptic_png import MAX_SEGMENT_ID

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
            like the PNGs, ``images``; data without ground truth has ``images`` alone.
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
        ValueError: a category outside the metadata, a doubled or impossible segment id, a doubled
            image, or a JSON of another format.
    """
    content = read_json(panoptic_json)
    if not isinstance(content, dict) or not (content.get("annotations") or content.get("images")):
        raise ValueError(
            f"'{panoptic_json}' has neither 'annotations' nor 'images': is it a COCO-panoptic JSON?"
        )
    try:
        if not content.get("annotations"):
            return _load_images(panoptic_json, images, content["images"])
        return _Loader(panoptic_json, images, panoptic_folder, metadata).load(content)
    except KeyError as error:
        raise ValueError(
            f"An entry of '{panoptic_json}' lacks the key {error}: see the COCO panoptic format."
        ) from error


def read_categories(panoptic_json: str) -> list[dict[str, Any]] | None:
    """The categories in a COCO-panoptic JSON, None if it has none that are things or stuff.

    Raises:
        FileNotFoundError, ValueError: as :func:`load_coco_panoptic`.
    """
    status = os.stat(panoptic_json)
    return _categories_of_version(panoptic_json, status.st_mtime_ns, status.st_size)


@functools.lru_cache
def _categories_of_version(panoptic_json: str, *version: int) -> list[dict[str, Any]] | None:
    content = read_json(panoptic_json)
    categories = content.get("categories") if isinstance(content, dict) else None
    if not categories or "annotations" not in content:
        return None
    check_categories(categories, panoptic_json)
    return categories


def _load_images(source: str, folder: str, entries: list[dict]) -> list[dict]:
    """Records of data without ground truth."""
    images = FolderIndex(folder)
    records = [
        {
            "file_name": _find_image(images, entry["file_name"], source),
            "image_id": entry["id"],
            **_size(entry),
        }
        for entry in entries
    ]
    _refuse_doubles(records, source)
    logger.info("Loaded %d images without ground truth from %s", len(records), source)
    return records


def _find_image(images: FolderIndex, name: str, source: str) -> str:
    path = images.find(name, IMAGE_EXTENSIONS)
    if path is None:
        raise FileNotFoundError(
            f"Image '{name}' of '{source}' is not in '{images.folder}', under no known extension: "
            "check the image folder."
        )
    return path


def _size(entry: dict) -> dict[str, int]:
    return {key: entry[key] for key in ("height", "width") if key in entry}


def _refuse_doubles(records: list[dict], source: str) -> None:
    seen = set()
    for record in records:
        if record["image_id"] in seen:
            raise ValueError(f"Image {record['image_id']!r} is twice in '{source}': keep one.")
        seen.add(record["image_id"])


class _Loader:
    """What all records of one annotated data set share."""

    def __init__(self, panoptic_json, images, panoptic_folder, metadata):
        self.source = panoptic_json
        self.images = FolderIndex(images)
        self.maps = FolderIndex(panoptic_folder)
        self.things = metadata["thing_dataset_id_to_contiguous_id"]
        self.contiguous = {**metadata["stuff_dataset_id_to_contiguous_id"], **self.things}

    def load(self, content: dict) -> list[dict]:
        entries = {entry["id"]: entry for entry in content.get("images", [])}
        annotations = content["annotations"]
        records = [self._record(a, entries.get(a["image_id"], {})) for a in annotations]
        _refuse_doubles(records, self.source)
        logger.info("Loaded %d images with annotation from %s", len(records), self.source)
        if len(entries) > len(records):
            logger.info("%d images without annotation left out", len(entries) - len(records))
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
            raise FileNotFoundError(
                f"Panoptic PNG '{annotation['file_name']}' of '{self.source}' is not in "
                f"'{self.maps.folder}': check the panoptic folder."
            )
        return path

    def _segments(self, annotation: dict) -> list[dict]:
        where = f"of '{annotation['file_name']}' in '{os.fspath(self.source)}'"
        segments, seen = [], set()
        for segment in annotation["segments_info"]:
            number, category = segment["id"], segment["category_id"]
            if category not in self.contiguous:
                raise ValueError(
                    f"Segment {number} {where} has category {category!r}, which the data set's "
                    "metadata does not have: add it to 'categories' or correct the segment."
                )
            if not isinstance(number, int) or not 1 <= number <= MAX_SEGMENT_ID:
                raise ValueError(
                    f"Segment id {number!r} {where} is no integer of 1...{MAX_SEGMENT_ID}: "
                    "0 is void, and a PNG holds no more."
                )
            if number in seen:
                raise ValueError(
                    f"Segment id {number} {where} is listed twice: give each segment its own id."
                )
            seen.add(number)
            segments.append(
                {
                    **segment,
                    "category_id": self.contiguous[category],
                    "isthing": category in self.things,
                    "iscrowd": int(segment.get("iscrowd", 0)),
                }
            )
        return segments
