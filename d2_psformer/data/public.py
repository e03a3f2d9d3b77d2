"""The names of this package; importing them registers the built-in data sets."""

from .augmentation import augment, build_augmentation
from .builtin import datasets_root, register_builtin
from .checks import DatasetReport, check_dataset
from .panoptic_labels import instances_from_panoptic, semantic_from_panoptic
from .panoptic_png import read_panoptic_png, write_panoptic_png
from .registration import (
    register_from_config,
    register_instances,
    register_panoptic,
    register_semantic,
)
from .segment_mapper import SegmentMapper

register_builtin(datasets_root())

__all__ = [
    "DatasetReport",
    "SegmentMapper",
    "augment",
    "build_augmentation",
    "check_dataset",
    "datasets_root",
    "instances_from_panoptic",
    "read_panoptic_png",
    "register_builtin",
    "register_from_config",
    "register_instances",
    "register_panoptic",
    "register_semantic",
    "semantic_from_panoptic",
    "write_panoptic_png",
]
