"""Catalogs, loaders and augmentations."""

from typing import TYPE_CHECKING

from . import from_backend

if TYPE_CHECKING:
    from ..d2lite.data import (
        DatasetCatalog,
        DatasetFromList,
        MetadataCatalog,
        build_detection_test_loader,
        get_detection_dataset_dicts,
        transforms,
    )
    from ..d2lite.data.datasets import register_coco_instances
else:
    __getattr__ = from_backend("data", "data.datasets")
