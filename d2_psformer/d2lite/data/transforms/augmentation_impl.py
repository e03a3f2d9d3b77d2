"""Augmentations, which draw from ``numpy.random`` in Detectron2's order."""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from fvcore.transforms.transform import (
    HFlipTransform,
    NoOpTransform,
    Transform,
    VFlipTransform,
)
from PIL import Image

from ...errors import UserError
from .augmentation import AugInput, Augmentation, as_augmentation
from .transform import ResizeTransform

__all__ = [
    "RandomApply",
    "RandomFlip",
    "ResizeScale",
    "ResizeShortestEdge",
]

_BILINEAR = Image.Resampling.BILINEAR


class RandomApply(Augmentation):
    """An augmentation that takes place with probability ``prob``."""

    def __init__(self, tfm_or_aug: Augmentation | Transform, prob: float = 0.5):
        assert 0 <= prob <= 1, f"A probability lies between 0 and 1, not at {prob}."
        self.aug = as_augmentation(tfm_or_aug)
        self.prob = prob

    def get_transform(self, *args: Any) -> Transform:
        takes_place = np.random.uniform() < self.prob
        return self.aug.get_transform(*args) if takes_place else NoOpTransform()

    def __call__(self, aug_input: AugInput) -> Transform:
        takes_place = np.random.uniform() < self.prob
        return self.aug(aug_input) if takes_place else NoOpTransform()


class RandomFlip(Augmentation):
    """Flip with probability ``prob``, either horizontally or vertically."""

    def __init__(self, prob: float = 0.5, *, horizontal: bool = True, vertical: bool = False):
        if horizontal == vertical:
            raise UserError("A random flip is either horizontal or vertical.")
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> Transform:
        height, width = image.shape[:2]
        if np.random.uniform() >= self.prob:
            return NoOpTransform()
        return HFlipTransform(width) if self.horizontal else VFlipTransform(height)


class ResizeShortestEdge(Augmentation):
    """Resize the short side to a random length, less where the long side would pass ``max_size``.

    Args:
        short_edge_length: [smallest, largest], or with "choice" the lengths to draw from, pixels.
        max_size: largest long side, pixels.
        sample_style: "range" or "choice".
    """

    def __init__(
        self,
        short_edge_length: int | Sequence[int],
        max_size: int = sys.maxsize,
        sample_style: str = "range",
        interp: int = _BILINEAR,
    ):
        if sample_style not in ("range", "choice"):
            raise UserError(f"Sampling of short sides is '{sample_style}': set range or choice.")
        if isinstance(short_edge_length, int):
            short_edge_length = (short_edge_length, short_edge_length)
        if sample_style == "range" and len(short_edge_length) != 2:
            raise UserError(f"A range of short sides is two numbers, not {short_edge_length}.")
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> Transform:
        height, width = image.shape[:2]
        if self.sample_style == "range":
            smallest, largest = self.short_edge_length
            size = np.random.randint(smallest, largest + 1)
        else:
            size = np.random.choice(self.short_edge_length)
        if size == 0:  # In a config, 0 means that the size stays.
            return NoOpTransform()
        new_shape = self.get_output_shape(height, width, size, self.max_size)
        return ResizeTransform(height, width, *new_shape, self.interp)

    @staticmethod
    def get_output_shape(
        oldh: int, oldw: int, short_edge_length: int, max_size: int
    ) -> tuple[int, int]:
        """Height and width, in pixels, of the resized image."""
        size = float(short_edge_length)
        scale = size / min(oldh, oldw)
        newh, neww = (size, scale * oldw) if oldh < oldw else (scale * oldh, size)
        longest = max(newh, neww)
        if longest > max_size:
            scale = max_size / longest
            newh, neww = newh * scale, neww * scale
        return int(newh + 0.5), int(neww + 0.5)


class ResizeScale(Augmentation):
    """Fit the image, aspect ratio kept, into the target size times a random scale.

    Args:
        min_scale, max_scale: range of the scale.
        target_height, target_width: pixels.
    """

    def __init__(
        self,
        min_scale: float,
        max_scale: float,
        target_height: int,
        target_width: int,
        interp: int = _BILINEAR,
    ):
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> Transform:
        old = np.array(image.shape[:2])
        target = np.array([self.target_height, self.target_width])
        target = target * np.random.uniform(self.min_scale, self.max_scale)
        new_h, new_w = np.round(old * np.min(target / old)).astype(int).tolist()
        return ResizeTransform(*image.shape[:2], new_h, new_w, self.interp)
