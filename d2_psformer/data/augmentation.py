"""Augmentations of training and the resize of inference, chosen by the config."""

import numpy as np

from ..d2.config import CfgNode
from ..d2.data import transforms as T


class ChannelShuffleTransform(T.Transform):
    """Put the channels of an image in another order; geometry stays.

    Args:
        order: a permutation of the channel indices.
    """

    def __init__(self, order: np.ndarray):
        super().__init__()
        self.order = order

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        return img[..., self.order]

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        return coords

    apply_segmentation = apply_coords

    def inverse(self) -> T.Transform:
        return ChannelShuffleTransform(np.argsort(self.order))


class RandomChannelShuffle(T.Augmentation):
    """Shuffle the colour channels, so that colour carries no meaning."""

    def get_transform(self, image: np.ndarray) -> T.Transform:
        return ChannelShuffleTransform(np.random.permutation(image.shape[-1]))


class ResizeShortestEdge(T.ResizeShortestEdge):
    """Detectron2's resize, but the short side of a very long image keeps at least one pixel."""

    def get_transform(self, image: np.ndarray) -> T.Transform:
        resize = super().get_transform(image)
        if isinstance(resize, T.ResizeTransform):
            resize.new_h, resize.new_w = max(1, resize.new_h), max(1, resize.new_w)
        return resize


def build_augmentation(cfg: CfgNode, is_train: bool) -> list[T.Augmentation]:
    """The augmentations of ``cfg.INPUT``: flip, crop, resize of the short side, channel shuffle.

    In training the paper (section 4.1, after DETR) crops half of the samples with
    ``DETR_CROP.ENABLED``: short side to one of ``DETR_CROP.RESIZE``, then a crop whose sides lie
    in ``DETR_CROP.SIZE``, before the resize that all samples get. Detectron2's own ``CROP`` works
    as well. A ``MIN_SIZE`` of 0 keeps the size.
    """
    if not is_train:
        return _resize(cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST, "choice")
    augmentations = []
    flip = cfg.INPUT.RANDOM_FLIP
    if flip != "none":
        augmentations.append(
            T.RandomFlip(horizontal=flip == "horizontal", vertical=flip == "vertical")
        )
    if cfg.INPUT.CROP.ENABLED:
        augmentations.append(T.RandomCrop(cfg.INPUT.CROP.TYPE, cfg.INPUT.CROP.SIZE))
    if cfg.INPUT.DETR_CROP.ENABLED:
        augmentations.append(_detr_crop(cfg.INPUT.DETR_CROP))
    augmentations += _resize(
        cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MAX_SIZE_TRAIN, cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING
    )
    if cfg.INPUT.CHANNEL_SHUFFLE:
        augmentations.append(RandomChannelShuffle())
    return augmentations


def _detr_crop(node: CfgNode) -> T.Augmentation:
    # The long side has no limit in DETR. This one concerns images longer than 1:20 alone, which
    # would take gigabytes.
    longest = 20 * max(node.RESIZE)
    crop = T.AugmentationList(
        [
            ResizeShortestEdge(node.RESIZE, longest, "choice"),
            T.RandomCrop("absolute_range", tuple(node.SIZE)),
        ]
    )
    return T.RandomApply(crop, prob=0.5)


def _resize(short_side: int | list[int], max_size: int, sample_style: str) -> list[T.Augmentation]:
    if not np.any(short_side):
        return []
    return [ResizeShortestEdge(short_side, max_size, sample_style)]
