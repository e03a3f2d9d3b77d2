"""From a dataset dict to the input of a model of instances and semantic classes."""

import copy
import logging
from typing import Any

import numpy as np
import torch

from ..config import configurable
from . import detection_utils as utils
from . import transforms as T

logger = logging.getLogger(__name__)


class DatasetMapper:
    """Read the image, augment it with its annotation, make tensors.

    Args:
        is_train: keep the annotations (as ``instances``).
        augmentations: augmentations and transforms, in order.
        image_format: see :func:`detection_utils.read_image`.
        use_instance_mask: make ``gt_masks`` where there are segmentations.
        instance_mask_format: see :func:`detection_utils.annotations_to_instances`.
        recompute_boxes: take boxes from the augmented masks; a cropped box may be too large.
    """

    @configurable
    def __init__(
        self,
        is_train: bool,
        *,
        augmentations: list[T.Augmentation | T.Transform],
        image_format: str,
        use_instance_mask: bool = False,
        instance_mask_format: str = "bitmask",
        recompute_boxes: bool = False,
    ):
        assert use_instance_mask or not recompute_boxes, "recompute_boxes needs instance masks."
        self.is_train = is_train
        self.augmentations = T.AugmentationList(augmentations)
        self.image_format = image_format
        self.use_instance_mask = use_instance_mask
        self.instance_mask_format = instance_mask_format
        self.recompute_boxes = recompute_boxes
        mode = "training" if is_train else "inference"
        logger.info("Augmentations in %s: %s", mode, augmentations)

    @classmethod
    def from_config(cls, cfg, is_train: bool = True) -> dict[str, Any]:
        augmentations = utils.build_augmentation(cfg, is_train)
        crop = cfg.INPUT.CROP.ENABLED and is_train
        if crop:
            augmentations.insert(0, T.RandomCrop(cfg.INPUT.CROP.TYPE, cfg.INPUT.CROP.SIZE))
        return {
            "is_train": is_train,
            "augmentations": augmentations,
            "image_format": cfg.INPUT.FORMAT,
            "use_instance_mask": cfg.MODEL.MASK_ON,
            "instance_mask_format": cfg.INPUT.MASK_FORMAT,
            "recompute_boxes": crop and cfg.MODEL.MASK_ON,
        }

    def __call__(self, dataset_dict: dict) -> dict:
        """Returns a copy of the dict with ``image`` uint8 (C,H,W) and, where the dict has them,
        ``sem_seg`` int64 (H,W) and in training ``instances``."""
        sample = copy.deepcopy(dataset_dict)
        image = utils.read_image(sample["file_name"], format=self.image_format)
        utils.check_image_size(sample, image)
        sem_seg_file = sample.pop("sem_seg_file_name", None)
        sem_seg = None if sem_seg_file is None else utils.read_image(sem_seg_file, "L").squeeze(2)

        augmented = T.AugInput(image, sem_seg=sem_seg)
        transforms = self.augmentations(augmented)
        sample["image"] = torch.as_tensor(np.ascontiguousarray(augmented.image.transpose(2, 0, 1)))
        if sem_seg is not None:
            sample["sem_seg"] = torch.as_tensor(augmented.sem_seg.astype("long"))

        annotations = sample.pop("annotations", None)
        if self.is_train and annotations is not None:
            size = augmented.image.shape[:2]
            sample["instances"] = self._instances(annotations, transforms, size)
        return sample

    def _instances(self, annotations: list[dict], transforms, size: tuple[int, int]):
        single = [obj for obj in annotations if not obj.get("iscrowd", 0)]
        if not self.use_instance_mask:
            for obj in single:
                obj.pop("segmentation", None)
        moved = [utils.transform_instance_annotations(obj, transforms, size) for obj in single]
        instances = utils.annotations_to_instances(moved, size, self.instance_mask_format)
        if self.recompute_boxes and instances.has("gt_masks"):
            instances.gt_boxes = instances.gt_masks.get_bounding_boxes()
        return utils.filter_empty_instances(instances)
