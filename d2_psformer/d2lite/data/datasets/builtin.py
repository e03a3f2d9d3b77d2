"""Registers COCO 2017 and Cityscapes under the folder that DETECTRON2_DATASETS names.

Registering opens no file of a data set.
"""

import os

from .builtin_meta import (
    CITYSCAPES_CATEGORIES,
    COCO_CATEGORIES,
    instances_metadata,
    panoptic_metadata,
)
from .coco import register_coco_instances
from .coco_panoptic import register_cityscapes_panoptic, register_coco_panoptic


def _register_all(root: str) -> None:
    for split in ("train", "val"):
        images = os.path.join(root, f"coco/{split}2017")
        instances_json = os.path.join(root, f"coco/annotations/instances_{split}2017.json")
        register_coco_instances(
            f"coco_2017_{split}", instances_metadata(COCO_CATEGORIES), instances_json, images
        )
        register_coco_panoptic(
            f"coco_2017_{split}_panoptic",
            panoptic_metadata(COCO_CATEGORIES),
            images,
            os.path.join(root, f"coco/panoptic_{split}2017"),
            os.path.join(root, f"coco/annotations/panoptic_{split}2017.json"),
            instances_json,
        )
        register_cityscapes_panoptic(split, root, panoptic_metadata(CITYSCAPES_CATEGORIES))


_register_all(os.path.expanduser(os.getenv("DETECTRON2_DATASETS", "datasets")))
