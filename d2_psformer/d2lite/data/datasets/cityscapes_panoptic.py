"""Cityscapes' panoptic annotations, as cityscapesscripts' createPanopticImgs writes them."""

import os
from collections.abc import Mapping
from typing import Any

from ..catalog import DatasetCatalog, MetadataCatalog
from .coco import load_json
from .coco_panoptic import check_first_files, contiguous_segments


def load_cityscapes_panoptic(
    image_dir: str, gt_dir: str, gt_json: str, meta: Mapping[str, Any]
) -> list[dict]:
    """Read Cityscapes' panoptic JSON file as dataset dicts.

    Args:
        image_dir: e.g. ``cityscapes/leftImg8bit/train``, with one folder a city.
        gt_dir: e.g. ``cityscapes/gtFine/cityscapes_panoptic_train``.

    ``meta``, the dicts and the errors are those of :func:`load_coco_panoptic_json`; the dicts have
    ``sem_seg_file_name`` (trainIds) too.
    """
    label_dir = _folder_of_labels(gt_dir)
    dataset_dicts = []
    for annotation in load_json(gt_json, "annotations")["annotations"]:
        image_id = annotation["image_id"]  # city_sequence_frame
        in_city = os.path.join(image_id.split("_")[0], image_id)
        dataset_dicts.append(
            {
                "file_name": os.path.join(image_dir, f"{in_city}_leftImg8bit.png"),
                "image_id": image_id,
                "sem_seg_file_name": os.path.join(label_dir, f"{in_city}_gtFine_labelTrainIds.png"),
                "pan_seg_file_name": os.path.join(gt_dir, annotation["file_name"]),
                "segments_info": contiguous_segments(annotation, meta, gt_json),
            }
        )
    check_first_files(dataset_dicts, gt_json)
    return dataset_dicts


def _folder_of_labels(gt_dir: str) -> str:
    return gt_dir.replace("cityscapes_panoptic_", "")


def register_cityscapes_panoptic(split: str, root: str, meta: dict) -> None:
    """Register ``cityscapes_fine_panoptic_<split>`` under the folder ``root``."""
    name = f"cityscapes_fine_panoptic_{split}"
    image_dir = os.path.join(root, "cityscapes/leftImg8bit", split)
    gt_dir = os.path.join(root, f"cityscapes/gtFine/cityscapes_panoptic_{split}")
    gt_json = gt_dir + ".json"
    DatasetCatalog.register(
        name, lambda: load_cityscapes_panoptic(image_dir, gt_dir, gt_json, meta)
    )
    MetadataCatalog.get(name).set(
        panoptic_root=gt_dir,
        image_root=image_dir,
        panoptic_json=gt_json,
        gt_dir=_folder_of_labels(gt_dir),
        evaluator_type="cityscapes_panoptic_seg",
        ignore_label=255,
        label_divisor=1000,
        **meta,
    )
