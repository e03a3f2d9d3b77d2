"""The dataset mapper: from a data set's record to the model's input."""

import logging
from collections.abc import Sequence
from typing import Any

from ..classes import Classes
from ..d2.config import configurable
from ..d2.data import MetadataCatalog
from ..d2.data import transforms as T
from .augmentation import augment, build_augmentation
from .ground_truth import read_ground_truth
from .reading import Record, read_image

logger = logging.getLogger(__name__)


class SegmentMapper:
    """Callable that reads and augments one image with its ground truth.

    The record decides its kind: panoptic, semantic or instance ground truth, see
    :func:`.read_ground_truth`. The mapper keeps the record's entries and adds

    * ``image``: tensor (3, H, W) in the format of ``INPUT.FORMAT``, after augmentation, uint8 or,
      with ``INPUT.DEEPLAB2``, float32 of the same range;
    * ``height``, ``width``: size of the upright image before augmentation;
    * in training, ``instances``: every segment left after augmentation, with ``gt_classes`` (int64,
      contiguous ids), ``gt_masks`` (BitMasks; those that cannot overlap are :class:`.LabelMasks`)
      and ``gt_boxes`` (Boxes of the augmented masks, XYXY pixels). Crowds and void are in no mask.
      The segments of semantic ground truth are the classes;
    * in training with panoptic or semantic ground truth, ``sem_seg``: int64 (H, W), 255 where there
      is none; crowds have their class;
    * where augmentations have padded at the right or the bottom, ``padding_mask``: bool (H, W),
      True = padding.

    Randomness comes from NumPy's global generator alone.

    Args:
        crop_reads_classes: an augmentation reads ``sem_seg``, the classes of the pixels.
        keep_empty: segments that augmentation left without a pixel stay (not those of semantic
            ground truth).
        num_classes: ground truth of further classes is an error; None if that is not known.

    Raises (when called):
        UserError: one sentence naming the file, see :func:`.read_ground_truth`.
    """

    @configurable
    def __init__(
        self,
        is_train: bool = True,
        *,
        augmentations: Sequence[T.Augmentation],
        image_format: str,
        crop_reads_classes: bool = False,
        keep_empty: bool = False,
        num_classes: int | None = None,
    ):
        self.is_train = is_train
        self.augmentations = T.AugmentationList(augmentations)
        self.image_format = image_format
        self.crop_reads_classes = crop_reads_classes
        self.keep_empty = keep_empty
        self.num_classes = num_classes
        logger.info(
            "Augmentations in %s: %s", "training" if is_train else "inference", self.augmentations
        )

    @classmethod
    def from_config(cls, cfg, is_train: bool = True) -> dict[str, Any]:
        num_classes, crop = None, cfg.INPUT.CROP
        if is_train and cfg.DATASETS.TRAIN:
            metadata = MetadataCatalog.get(cfg.DATASETS.TRAIN[0])
            num_classes = Classes.from_metadata(metadata).num_classes
        return {
            "is_train": is_train,
            "augmentations": build_augmentation(cfg, is_train),
            "image_format": cfg.INPUT.FORMAT,
            "crop_reads_classes": is_train and crop.ENABLED and crop.SINGLE_CATEGORY_MAX_AREA < 1,
            "keep_empty": cfg.INPUT.KEEP_EMPTY_SEGMENTS,
            "num_classes": num_classes,
        }

    def __call__(self, record: Record) -> dict[str, Any]:
        sample = dict(record)
        image = read_image(record, self.image_format)
        size = sample["height"], sample["width"] = image.shape[:2]
        truth = read_ground_truth(record, size, self.num_classes) if self.is_train else None
        augmented = T.AugInput(image)
        if self.crop_reads_classes:
            augmented.sem_seg = truth.class_map()
        augmented_sample, transforms = augment(self.augmentations, augmented)
        sample |= augmented_sample
        if truth is not None:
            new_size = augmented.image.shape[:2]
            sample |= truth.targets(transforms, new_size, keep_empty=self.keep_empty)
        return sample
