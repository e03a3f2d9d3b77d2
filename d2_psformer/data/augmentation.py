"""Augmentations of training and the resize of inference, chosen by the config."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..d2.config import CfgNode
from ..d2.data import transforms as T
from ..utils.checks import check_at_least, check_choice
from ..utils.errors import UserError
from .color_jitter import RandomColorJitter
from .deeplab2_augmentation import GREY, FitSquare, deeplab2_recipe
from .reading import IGNORED


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
        return _keep_a_pixel(super().get_transform(image))


class ResizeScale(T.ResizeScale):
    """Detectron2's resize, but the short side of a very long image keeps at least one pixel."""

    def get_transform(self, image: np.ndarray) -> T.Transform:
        return _keep_a_pixel(super().get_transform(image))


def _keep_a_pixel(resize: T.Transform) -> T.Transform:
    if isinstance(resize, T.ResizeTransform):
        resize.new_h, resize.new_w = max(1, resize.new_h), max(1, resize.new_w)
    return resize


class PadToSize(T.Augmentation):
    """Pad right and bottom to ``size`` x ``size`` pixels, segmentations with 255.

    Raises (when called):
        UserError: the image is larger.
    """

    def __init__(self, size: int, value: float = 128):
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> T.Transform:
        height, width = image.shape[:2]
        if max(height, width) > self.size:
            raise UserError(
                f"An augmented image is {width} x {height} pixels, but INPUT.SIZE_DIVISIBILITY "
                f"pads to {self.size} x {self.size}: make it at least the size of the crop, or -1."
            )
        right, bottom = self.size - width, self.size - height
        pads = {"pad_value": self.value, "seg_pad_value": 255}
        return T.PadTransform(0, 0, right, bottom, width, height, **pads)


def build_augmentation(cfg: CfgNode, is_train: bool) -> list[T.Augmentation]:
    """The augmentations of ``cfg.INPUT``; inference has the resize alone, and with it the padding.

    Training has one of four recipes, a ``MIN_SIZE`` of 0 keeps the size:

    * ``LARGE_SCALE_JITTER``: flip, random scale, crop or padding to one size (Mask2Former, COCO);
    * ``CROP`` of ``TYPE`` "absolute": resize of the short side, crop, flip (MaskFormer and
      Mask2Former, ADE20K and Cityscapes);
    * ``DEEPLAB2``: resize of the long side, random scale, padding, crop, flip (MaX-DeepLab), the
      same resize in inference;
    * else flip, crop, resize of the short side. The crop is Detectron2's ``CROP`` of another
      ``TYPE``, or ``DETR_CROP``, which half of the samples get (Panoptic SegFormer, section 4.1,
      after DETR; MaskFormer, COCO), or none.

    ``COLOR_AUG_SSD``, ``CHANNEL_SHUFFLE`` and ``SIZE_DIVISIBILITY`` work with each.

    Raises:
        UserError: several crops are switched on, or one has no size.
    """
    node, padding = cfg.INPUT, cfg.MODEL.PADDING_VALUE
    padding = 128 if padding is None else padding
    if not is_train and node.DEEPLAB2.ENABLED:
        return [FitSquare(node.DEEPLAB2.SIZE), PadToSize(node.DEEPLAB2.SIZE, GREY)]
    if not is_train:
        return _resize(node.MIN_SIZE_TEST, node.MAX_SIZE_TEST, "choice")
    _check_one_crop(node)
    flip = []
    if node.RANDOM_FLIP != "none":
        directions = {way: way == node.RANDOM_FLIP for way in ("horizontal", "vertical")}
        flip = [T.RandomFlip(**directions)]
    color = [RandomColorJitter(node.FORMAT)] if node.COLOR_AUG_SSD else []
    if node.LARGE_SCALE_JITTER.ENABLED:
        augmentations = flip + _large_scale_jitter(node.LARGE_SCALE_JITTER, padding) + color
    elif node.DEEPLAB2.ENABLED:
        augmentations = color + deeplab2_recipe(node.DEEPLAB2) + flip  # colours are whole numbers
    else:
        if node.MIN_SIZE_TRAIN_SAMPLING == "range":
            _check_order("INPUT.MIN_SIZE_TRAIN", node.MIN_SIZE_TRAIN)
        resize = _resize(node.MIN_SIZE_TRAIN, node.MAX_SIZE_TRAIN, node.MIN_SIZE_TRAIN_SAMPLING)
        augmentations = flip + _crop(node) + resize + color
        if node.CROP.ENABLED and node.CROP.TYPE == "absolute":
            augmentations = resize + _crop(node) + color + flip
    if node.CHANNEL_SHUFFLE:
        augmentations.append(RandomChannelShuffle())
    if node.SIZE_DIVISIBILITY > 0:
        augmentations.append(PadToSize(node.SIZE_DIVISIBILITY, padding))
    return augmentations


def augment(
    augmentation: T.Augmentation, inputs: T.AugInput
) -> tuple[dict[str, Tensor], T.Transform]:
    """Augment ``inputs`` in place.

    Returns:
        what the model takes, ``image`` (3, H, W) and, where augmentation has padded at the right or
        the bottom, ``padding_mask`` (H, W) bool, True = padding; and the transform.
    """
    size = inputs.image.shape[:2]
    transform = augmentation(inputs)
    pixels = np.ascontiguousarray(inputs.image.transpose(2, 0, 1))
    sample = {"image": torch.as_tensor(pixels)}
    padding = transform.apply_segmentation(np.zeros(size, np.uint8)) != 0
    if padding.any():
        sample["padding_mask"] = torch.from_numpy(padding)
    return sample, transform


def _check_one_crop(node: CfgNode) -> None:
    keys = ("LARGE_SCALE_JITTER", "DEEPLAB2", "CROP", "DETR_CROP")
    chosen = [f"INPUT.{key}.ENABLED" for key in keys if node[key].ENABLED]
    if len(chosen) > 1:
        raise UserError(f"{' and '.join(chosen)} exclude each other: switch one of them on.")


def _large_scale_jitter(node: CfgNode, padding: float) -> list[T.Augmentation]:
    key = "INPUT.LARGE_SCALE_JITTER"
    check_at_least(1, **{f"{key}.SIZE": node.SIZE})
    check_at_least(0, **{f"{key}.MIN_SCALE": node.MIN_SCALE})
    check_at_least(node.MIN_SCALE, **{f"{key}.MAX_SCALE": node.MAX_SCALE})
    size = node.SIZE, node.SIZE
    crop = T.FixedSizeCrop(size, pad_value=padding)
    return [ResizeScale(node.MIN_SCALE, node.MAX_SCALE, *size), crop]


def _crop(node: CfgNode) -> list[T.Augmentation]:
    if node.DETR_CROP.ENABLED:
        return [_detr_crop(node.DETR_CROP)]
    crop = node.CROP
    if not crop.ENABLED:
        return []
    _check_crop(crop.TYPE, crop.SIZE)
    if crop.SINGLE_CATEGORY_MAX_AREA >= 1:
        return [T.RandomCrop(crop.TYPE, crop.SIZE)]
    limit = crop.SINGLE_CATEGORY_MAX_AREA
    return [T.RandomCrop_CategoryAreaConstraint(crop.TYPE, crop.SIZE, limit, IGNORED)]


def _check_crop(kind: str, size: list[float]) -> None:
    kinds = ("absolute", "absolute_range", "relative", "relative_range")
    check_choice(kinds, **{"INPUT.CROP.TYPE": kind})
    in_pixels = kind.startswith("absolute")
    if not all(side >= 1 if in_pixels else 0 < side <= 1 for side in size):
        allowed = "at least 1 pixel" if in_pixels else "a share above 0 and at most 1"
        raise UserError(f"INPUT.CROP.SIZE is {size}: with TYPE {kind} a side is {allowed}.")
    if kind == "absolute_range":
        _check_order("INPUT.CROP.SIZE", size)


def _check_order(key: str, sizes: Sequence[int]) -> None:
    """Raise :class:`UserError` unless ``sizes`` are the smallest one and the largest one."""
    if len(sizes) != 2 or sizes[0] > sizes[1]:
        raise UserError(f"{key} is {sizes}: it must be the smallest size and the largest one.")


def _detr_crop(node: CfgNode) -> T.Augmentation:
    if not node.RESIZE:
        raise UserError("INPUT.DETR_CROP.RESIZE is empty: name at least one short side.")
    _check_order("INPUT.DETR_CROP.SIZE", node.SIZE)
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
