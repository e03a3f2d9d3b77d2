"""Panoptic annotations in COCO's format: a JSON file and a folder of PNGs."""

import os
from collections.abc import Mapping
from typing import Any

from ...errors import UnknownKeyError, UserError
from ...utils.file_io import PathManager
from ..catalog import DatasetCatalog, MetadataCatalog
from .coco import load_json


def load_coco_panoptic_json(
    json_file: str, image_dir: str, gt_dir: str, meta: Mapping[str, Any]
) -> list[dict]:
    """Read a panoptic JSON file as dataset dicts; images are taken to be ``.jpg``.

    Args:
        meta: ``thing_dataset_id_to_contiguous_id`` and ``stuff_dataset_id_to_contiguous_id``.

    Returns:
        Dicts with ``file_name``, ``image_id`` int, ``pan_seg_file_name`` and ``segments_info``,
        whose ``category_id`` is contiguous and ``isthing`` a bool.

    Raises:
        UserError: the JSON file is broken, or it, the first image or the first PNG is missing.
        UnknownKeyError: a segment has a category that is not in the metadata.
    """
    dataset_dicts = []
    for annotation in load_json(json_file, "annotations")["annotations"]:
        stem = os.path.splitext(annotation["file_name"])[0]
        dataset_dicts.append(
            {
                "file_name": os.path.join(image_dir, stem + ".jpg"),
                "image_id": int(annotation["image_id"]),
                "pan_seg_file_name": os.path.join(gt_dir, annotation["file_name"]),
                "segments_info": contiguous_segments(annotation, meta, json_file),
            }
        )
    check_first_files(dataset_dicts, json_file)
    return dataset_dicts


def contiguous_segments(
    annotation: Mapping[str, Any], meta: Mapping[str, Any], json_file: str
) -> list[dict]:
    """Segments of one annotation with contiguous ``category_id`` and with ``isthing``."""
    things = meta["thing_dataset_id_to_contiguous_id"]
    stuff = meta["stuff_dataset_id_to_contiguous_id"]
    segments = []
    for segment in annotation["segments_info"]:
        category = segment["category_id"]
        isthing = category in things
        if not isthing and category not in stuff:
            raise UnknownKeyError(
                f"Segment {segment['id']} of image {annotation['image_id']} in '{json_file}' has "
                f"category {category}, which the metadata of the data set lacks."
            )
        contiguous = things[category] if isthing else stuff[category]
        segments.append({**segment, "category_id": contiguous, "isthing": isthing})
    return segments


def check_first_files(dataset_dicts: list[dict], json_file: str) -> None:
    """Find a wrong folder before training, not in the middle of the first epoch."""
    if not dataset_dicts:
        raise UserError(f"Annotation file '{json_file}' lists no image.")
    for key in ("file_name", "pan_seg_file_name"):
        if not PathManager.isfile(dataset_dicts[0][key]):
            raise UserError(
                f"'{dataset_dicts[0][key]}', the first file that '{json_file}' names, does not "
                "exist: check the folder of the data set."
            )


def register_coco_panoptic(
    name: str,
    metadata: dict,
    image_root: str,
    panoptic_root: str,
    panoptic_json: str,
    instances_json: str | None = None,
) -> None:
    """Register a data set in COCO's panoptic format.

    Args:
        metadata: names, colours and id maps of the classes.
        panoptic_root: folder of the PNGs.
        instances_json: instance annotations of the same images, for box and mask AP.
    """
    DatasetCatalog.register(
        name, lambda: load_coco_panoptic_json(panoptic_json, image_root, panoptic_root, metadata)
    )
    MetadataCatalog.get(name).set(
        panoptic_root=panoptic_root,
        image_root=image_root,
        panoptic_json=panoptic_json,
        json_file=instances_json,
        evaluator_type="coco_panoptic_seg",
        ignore_label=255,
        label_divisor=1000,
        **metadata,
    )
