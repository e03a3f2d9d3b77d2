"""Data sets, the test loader and augmentations, with Detectron2's names."""

from . import datasets, detection_utils, samplers, transforms
from .build import build_detection_test_loader, get_detection_dataset_dicts
from .catalog import DatasetCatalog, Metadata, MetadataCatalog
from .common import DatasetFromList, MapDataset
from .dataset_mapper import DatasetMapper

__all__ = [
    "DatasetCatalog",
    "DatasetFromList",
    "DatasetMapper",
    "MapDataset",
    "Metadata",
    "MetadataCatalog",
    "build_detection_test_loader",
    "datasets",
    "detection_utils",
    "get_detection_dataset_dicts",
    "samplers",
    "transforms",
]
