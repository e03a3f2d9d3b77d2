"""Panoptic annotations of COCO and of Cityscapes: a JSON file and a folder of PNGs."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from ...errors import UnknownKeyError, UserError
from ...utils.file_io import PathManager
from ..catalog import DatasetCatalog, MetadataCatalog
from .coco import load_json

Meta = Mapping[str, Any]


def load_coco_panoptic_json(json_file: str, image_dir: str, gt_dir: str, meta: Meta) -> list[dict]:
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

    def image(annotation: dict) -> dict:
        stem = os.path.splitext(annotation["file_name"])[0]
        file_name = os.path.join(image_dir, f"{stem}.jpg")
        return {"file_name": file_name, "image_id": int(annotation["image_id"])}

    return _load(json_file, gt_dir, meta, image)


def load_cityscapes_panoptic(image_dir: str, gt_dir: str, gt_json: str, meta: Meta) -> list[dict]:
    """Read a file of cityscapesscripts' createPanopticImgs as dataset dicts.

    They are those of :func:`load_coco_panoptic_json` with ``sem_seg_file_name`` (trainIds) too.

    Args:
        image_dir: e.g. ``cityscapes/leftImg8bit/train``, with one folder a city.
        gt_dir: e.g. ``cityscapes/gtFine/cityscapes_panoptic_train``.
    """

    def image(annotation: dict) -> dict:
        image_id = annotation["image_id"]  # city_sequence_frame
        path = os.path.join(image_id.split("_")[0], image_id)
        labels = os.path.join(_folder_of_labels(gt_dir), f"{path}_gtFine_labelTrainIds.png")
        file_name = os.path.join(image_dir, f"{path}_leftImg8bit.png")
        return {"file_name": file_name, "image_id": image_id, "sem_seg_file_name": labels}

    return _load(gt_json, gt_dir, meta, image)


def _folder_of_labels(gt_dir: str) -> str:
    return gt_dir.replace("cityscapes_panoptic_", "")


def _load(json_file: str, gt_dir: str, meta: Meta, image: Callable[[dict], dict]) -> list[dict]:
    """``image`` gives the entries of a dict that do not concern the segments."""
    dataset_dicts = [
        {
            **image(annotation),
            "pan_seg_file_name": os.path.join(gt_dir, annotation["file_name"]),
            "segments_info": _contiguous_segments(annotation, meta, json_file),
        }
        for annotation in load_json(json_file, "annotations")["annotations"]
    ]
    if not dataset_dicts:
        raise UserError(f"Annotation file '{json_file}' lists no image.")
    # A wrong folder is found before training, not in the middle of the first epoch.
    for key in ("file_name", "pan_seg_file_name"):
        if not PathManager.isfile(dataset_dicts[0][key]):
            raise UserError(
                f"'{dataset_dicts[0][key]}', the first file that '{json_file}' names, does not "
                "exist: check the folder of the data set."
            )
    return dataset_dicts


def _contiguous_segments(annotation: dict, meta: Meta, json_file: str) -> list[dict]:
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


def register_cityscapes_panoptic(split: str, root: str, metadata: dict) -> None:
    """Register ``cityscapes_fine_panoptic_<split>`` under the folder ``root``."""
    name = f"cityscapes_fine_panoptic_{split}"
    images = os.path.join(root, "cityscapes/leftImg8bit", split)
    pngs = os.path.join(root, f"cityscapes/gtFine/cityscapes_panoptic_{split}")
    json_file = f"{pngs}.json"
    DatasetCatalog.register(
        name, lambda: load_cityscapes_panoptic(images, pngs, json_file, metadata)
    )
    MetadataCatalog.get(name).set(
        panoptic_root=pngs,
        image_root=images,
        panoptic_json=json_file,
        gt_dir=_folder_of_labels(pngs),
        evaluator_type="cityscapes_panoptic_seg",
        ignore_label=255,
        label_divisor=1000,
        **metadata,
    )
