"""Data set formats; importing this registers COCO 2017 and Cityscapes."""

from . import builtin
from .coco import load_coco_json, register_coco_instances
from .coco_panoptic import load_coco_panoptic_json, register_coco_panoptic

__all__ = [
    "builtin",
    "load_coco_json",
    "load_coco_panoptic_json",
    "register_coco_instances",
    "register_coco_panoptic",
]
