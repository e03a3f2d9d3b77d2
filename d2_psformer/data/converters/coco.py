"""COCO's two formats: instances (polygons, run lengths, crowds), and panoptic JSON with PNGs."""

from typing import Any

from pycocotools import mask as mask_util

from ...classes import Classes, unique_names
from ...utils.errors import UserError
from ...utils.files import read_json
from ..coco_instances import load_instance_records, read_instance_json
from ..coco_panoptic import PanopticFiles, load_records
from ..images import upright_size
from ..panoptic_json import check_categories
from ..reading import check_two_files, read_segment_ids
from .records import LabelledImage, Segment, Source, checked_size
from .shapes import Shape, paint

Record = dict[str, Any]


class CocoInstances:
    """One JSON of outlines. Images without annotations have no segments.

    Raises:
        UserError: see :func:`.read_instance_json`.
    """

    takes_folder, uses = False, ("stuff",)

    def __init__(self, source: Source):
        self.images = source.image_folder()
        self._path = source.path
        listed = read_instance_json(source.path)["categories"]
        self.categories = _distinct([{**category, "isthing": 1} for category in listed])
        self._classes = Classes.from_categories(self.categories)
        self._stuff = source.stuff or ()

    def items(self) -> list[tuple[str, Record]]:
        metadata = {"json_file": str(self._path), "image_root": str(self.images)}
        return _keyed(load_instance_records({**metadata, **self._classes.to_metadata()}))

    def read(self, item: Record) -> LabelledImage:
        path, where = item["file_name"], f"'{self._path}'"
        size = checked_size(path, (item["height"], item["width"]), where)
        shapes = [
            Shape(
                self._classes.names[annotation["category_id"]],
                _codes(annotation["segmentation"], size),
                bool(annotation["iscrowd"]),
            )
            for annotation in item.get("annotations", [])
        ]
        return LabelledImage(path, *paint(shapes, size, self._stuff), item["image_id"])


def _codes(outline: list | dict, size: tuple[int, int]) -> list[dict]:
    """Of an outline that :func:`.read_instance_json` has found sound."""
    return [outline] if isinstance(outline, dict) else mask_util.frPyObjects(outline, *size)


class CocoPanoptic:
    """A panoptic JSON and its PNGs, beside it or in the folder named as the JSON is.

    Mapillary Vistas has this format too. Predictions have scores, and perhaps no categories.

    Raises:
        UserError: see :class:`.PanopticFiles`.
    """

    takes_folder, uses = False, ("stuff", "categories")

    def __init__(self, source: Source):
        self.images = source.image_folder()
        pngs = source.path.with_suffix("")
        self._files = PanopticFiles(source.path, pngs if pngs.is_dir() else source.path.parent)
        if not self._files.annotations:
            raise UserError(f"'{source.path}' has no annotation: there is nothing to convert.")
        if source.categories:
            content = read_json(source.categories)
            self.categories = content.get("categories") if isinstance(content, dict) else None
            check_categories(self.categories, f"'{source.categories}'")
        elif not self._files.content.get("categories"):
            raise UserError(
                f"'{source.path}' has no 'categories', as predictions may: name a JSON that has "
                "them with --categories, such as the ground truth's."
            )
        else:
            self.categories = self._files.categories
        self.categories = _distinct(self.categories)
        self._classes = Classes.from_categories(self.categories)

    def items(self) -> list[tuple[str, Record]]:
        return _keyed(load_records(self._files, self.images, self._classes.to_metadata()))

    def read(self, item: Record) -> LabelledImage:
        check_two_files(item)
        path = item["file_name"]
        size = upright_size(path)
        if {"height", "width"} <= item.keys():
            checked_size(path, (item["height"], item["width"]), f"'{self._files.json_file}'")
        segments = [
            Segment(
                segment["id"],
                self._classes.names[segment["category_id"]],
                bool(segment["iscrowd"]),
                segment.get("score"),
            )
            for segment in item["segments_info"]
        ]
        return LabelledImage(path, read_segment_ids(item, size), segments, item["image_id"])


def _distinct(categories: list[dict]) -> list[dict]:
    """The categories with names that differ."""
    names = unique_names([c["name"] for c in categories], [c["id"] for c in categories])
    return [{**c, "name": name} for c, name in zip(categories, names, strict=True)]


def _keyed(records: list[Record]) -> list[tuple[str, Record]]:
    return [(str(record["image_id"]), record) for record in records]
