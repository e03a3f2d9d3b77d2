"""Instance annotations in COCO's format."""

import json
import logging
import os
from collections import defaultdict
from typing import Any

import pycocotools.mask as mask_util

from ....utils.wording import counted
from ...errors import UnknownKeyError, UserError
from ...structures import BoxMode
from ...utils.file_io import PathManager
from ..catalog import DatasetCatalog, MetadataCatalog

logger = logging.getLogger(__name__)

_ANNOTATION_KEYS = ("iscrowd", "bbox", "category_id")


def load_json(json_file: str, *keys: str) -> dict[str, Any]:
    """Read an annotation file.

    Args:
        keys: lists that must be in it.

    Raises:
        UserError: there is no such file, it is no JSON, or a key is missing.
    """
    if not PathManager.isfile(json_file):
        raise UserError(
            f"Annotation file '{json_file}' does not exist: check the path, or set "
            "DETECTRON2_DATASETS to the folder that holds the data sets."
        )
    with PathManager.open(json_file) as file:
        try:
            content = json.load(file)
        except ValueError as error:
            raise UserError(f"Annotation file '{json_file}' is no valid JSON: {error}.") from error
    for key in keys:
        if not isinstance(content, dict) or key not in content:
            raise UserError(f"Annotation file '{json_file}' has no '{key}' list.")
    return content


def load_coco_json(json_file: str, image_root: str, dataset_name: str | None = None) -> list[dict]:
    """Read a file in COCO's instance format as dataset dicts.

    Args:
        dataset_name: if given, category ids become contiguous in the order of the ids, and the
            data set's metadata gets ``thing_classes`` and ``thing_dataset_id_to_contiguous_id``.

    Returns:
        One dict an image, in the order of the image ids.

    Raises:
        UserError: see :func:`load_json`; or an annotation is broken.
        UnknownKeyError: an annotation has a category that the file does not list.
    """
    content = load_json(json_file, "images")
    id_map = None
    if dataset_name is not None:
        categories = sorted(content.get("categories", []), key=lambda category: category["id"])
        id_map = {category["id"]: i for i, category in enumerate(categories)}
        MetadataCatalog.get(dataset_name).set(
            thing_classes=[category["name"] for category in categories],
            thing_dataset_id_to_contiguous_id=id_map,
        )

    annotations = content.get("annotations", [])
    if len({annotation["id"] for annotation in annotations}) != len(annotations):
        raise UserError(f"Annotation file '{json_file}' uses an annotation id more than once.")
    annotations_of = defaultdict(list)
    for annotation in annotations:
        annotations_of[annotation["image_id"]].append(annotation)

    dataset_dicts = []
    for image in sorted(content["images"], key=lambda image: image["id"]):
        objects = (_to_object(a, id_map, json_file) for a in annotations_of[image["id"]])
        dataset_dicts.append(
            {
                "file_name": os.path.join(image_root, image["file_name"]),
                "height": image["height"],
                "width": image["width"],
                "image_id": image["id"],
                "annotations": [obj for obj in objects if obj is not None],
            }
        )
    logger.info("Loaded %s from %s.", counted(len(dataset_dicts), "image"), json_file)
    return dataset_dicts


def _to_object(annotation: dict, id_map: dict[int, int] | None, json_file: str) -> dict | None:
    """One annotation of a dataset dict; None if all its polygons have less than three corners."""
    where = f"Annotation {annotation['id']} in '{json_file}'"
    if "bbox" in annotation and len(annotation["bbox"]) != 4:
        raise UserError(f"{where} has a 'bbox' that is not four numbers.")
    obj = {key: annotation[key] for key in _ANNOTATION_KEYS if key in annotation}
    obj["bbox_mode"] = BoxMode.XYWH_ABS
    if id_map is not None:
        category = annotation["category_id"]
        if category not in id_map:
            raise UnknownKeyError(f"{where} has category_id {category}, which 'categories' lacks.")
        obj["category_id"] = id_map[category]

    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, dict):
        if isinstance(segmentation["counts"], list):
            segmentation = mask_util.frPyObjects(segmentation, *segmentation["size"])
    elif segmentation:
        segmentation = [p for p in segmentation if len(p) % 2 == 0 and len(p) >= 6]
        if not segmentation:
            logger.warning("%s is left out: no polygon of it has three corners.", where)
            return None
    return {**obj, "segmentation": segmentation} if segmentation else obj


def register_coco_instances(name: str, metadata: dict, json_file: str, image_root: str) -> None:
    """Register a data set in COCO's instance format.

    Args:
        metadata: further metadata; may be empty, since classes come from the file.
    """
    DatasetCatalog.register(name, lambda: load_coco_json(json_file, image_root, name))
    MetadataCatalog.get(name).set(
        json_file=json_file, image_root=image_root, evaluator_type="coco", **metadata
    )
