"""Catalogs, data sets, the sampler of evaluation, augmentations."""

from typing import TYPE_CHECKING

from . import from_backend

if TYPE_CHECKING:
    from ..d2lite.data import (
        DatasetCatalog,
        DatasetFromList,
        MapDataset,
        MetadataCatalog,
        get_detection_dataset_dicts,
        transforms,
    )
    from ..d2lite.data.datasets import register_coco_instances
    from ..d2lite.data.samplers import InferenceSampler
else:
    __getattr__ = from_backend("data", "data.datasets", "data.samplers")
