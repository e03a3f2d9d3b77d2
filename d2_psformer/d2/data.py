"""Catalogs, loaders, samplers, augmentations."""

from . import BACKEND

if BACKEND == "detectron2":
    from detectron2.data import (
        DatasetCatalog,
        DatasetFromList,
        DatasetMapper,
        MapDataset,
        MetadataCatalog,
        build_batch_data_loader,
        build_detection_test_loader,
        build_detection_train_loader,
        detection_utils,
        get_detection_dataset_dicts,
        transforms,
    )
    from detectron2.data.datasets import register_coco_instances, register_coco_panoptic
    from detectron2.data.samplers import InferenceSampler, TrainingSampler
else:
    from ..d2lite.data import (
        DatasetCatalog,
        DatasetFromList,
        DatasetMapper,
        MapDataset,
        MetadataCatalog,
        build_batch_data_loader,
        build_detection_test_loader,
        build_detection_train_loader,
        detection_utils,
        get_detection_dataset_dicts,
        transforms,
    )
    from ..d2lite.data.datasets import register_coco_instances, register_coco_panoptic
    from ..d2lite.data.samplers import InferenceSampler, TrainingSampler

__all__ = [
    "DatasetCatalog",
    "DatasetFromList",
    "DatasetMapper",
    "InferenceSampler",
    "MapDataset",
    "MetadataCatalog",
    "TrainingSampler",
    "build_batch_data_loader",
    "build_detection_test_loader",
    "build_detection_train_loader",
    "detection_utils",
    "get_detection_dataset_dicts",
    "register_coco_instances",
    "register_coco_panoptic",
    "transforms",
]
