"""The dataset mapper: from a data set's record to the model's input."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..d2.config import configurable
from ..d2.data import transforms as T
from ..d2.structures import Boxes, Instances
from .augmentation import build_augmentation
from .label_masks import LabelMasks
from .reading import Record, read_image, read_segment_ids
from .segments import label_segments, segment_boxes

logger = logging.getLogger(__name__)


class PanopticMapper:
    """Callable that reads and augments one image with its panoptic annotation.

    It keeps the record's entries and adds

    * ``image``: uint8 tensor (3, H, W) in the format of ``INPUT.FORMAT``, after augmentation;
    * ``height``, ``width``: size of the upright image before augmentation;
    * in training, ``instances``: every segment left after augmentation, things and stuff alike,
      with ``gt_classes`` (int64, contiguous ids), ``gt_masks`` (BitMasks: :class:`.LabelMasks`)
      and ``gt_boxes`` (Boxes of the augmented masks, XYXY pixels). Crowds and void are in no mask.

    Randomness comes from NumPy's global generator alone.

    Raises (when called):
        UserError: one sentence naming the file, see :mod:`.reading`.
    """

    @configurable
    def __init__(
        self,
        is_train: bool = True,
        *,
        augmentations: Sequence[T.Augmentation],
        image_format: str,
    ):
        self.is_train = is_train
        self.augmentations = T.AugmentationList(augmentations)
        self.image_format = image_format
        logger.info(
            "Augmentations in %s: %s", "training" if is_train else "inference", self.augmentations
        )

    @classmethod
    def from_config(cls, cfg, is_train: bool = True) -> dict[str, Any]:
        return {
            "is_train": is_train,
            "augmentations": build_augmentation(cfg, is_train),
            "image_format": cfg.INPUT.FORMAT,
        }

    def __call__(self, record: Record) -> dict[str, Any]:
        sample = dict(record)
        image = read_image(record, self.image_format)
        size = sample["height"], sample["width"] = image.shape[:2]
        ids = read_segment_ids(record, size) if self.is_train else None

        augmented = T.AugInput(image)
        transforms = self.augmentations(augmented)
        sample["image"] = torch.as_tensor(np.ascontiguousarray(augmented.image.transpose(2, 0, 1)))
        if ids is not None:
            segments = [s for s in record["segments_info"] if not s.get("iscrowd", 0)]
            labels = label_segments(ids, [s["id"] for s in segments])
            sample["instances"] = _to_instances(_transform_labels(labels, transforms), segments)
        return sample


def _transform_labels(labels: np.ndarray, transforms: T.TransformList) -> np.ndarray:
    """Apply transforms to a label map (H, W) through the bytes of each pixel.

    Transforms take uint8 images of any channels and move their pixels unchanged, so labels of any
    size stay exact. No segment has the label 0 or 255, which padding transforms fill in.
    """
    as_bytes = np.ascontiguousarray(labels).view(np.uint8).reshape(*labels.shape, -1)
    moved = transforms.apply_segmentation(as_bytes)
    return np.ascontiguousarray(moved).view(labels.dtype)[..., 0]


def _to_instances(labels: np.ndarray, segments: list[dict]) -> Instances:
    """The segments, numbered from 1 on in ``labels`` (H, W), that own at least one pixel there."""
    boxes = segment_boxes(labels, len(segments))
    present = np.flatnonzero(boxes[:, 2])
    classes = [segments[k]["category_id"] for k in present]
    instances = Instances(labels.shape)
    instances.gt_classes = torch.tensor(classes, dtype=torch.int64)
    instances.gt_masks = LabelMasks(torch.tensor(labels), torch.from_numpy(present + 1))
    instances.gt_boxes = Boxes(torch.from_numpy(boxes[present].astype(np.float32)))
    return instances
