"""Data sets, the test loader and augmentations, with Detectron2's names."""

from . import datasets, detection_utils, samplers, transforms
from .build import get_detection_dataset_dicts
from .catalog import DatasetCatalog, Metadata, MetadataCatalog
from .common import DatasetFromList, MapDataset

__all__ = [
    "DatasetCatalog",
    "DatasetFromList",
    "MapDataset",
    "Metadata",
    "MetadataCatalog",
    "datasets",
    "detection_utils",
    "get_detection_dataset_dicts",
    "samplers",
    "transforms",
]
