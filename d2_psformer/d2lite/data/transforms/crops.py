"""Augmentations that crop, which draw from ``numpy.random`` in Detectron2's order."""

import numpy as np
from fvcore.transforms.transform import CropTransform, PadTransform, Transform, TransformList

from ...errors import UserError
from .augmentation import Augmentation

__all__ = ["FixedSizeCrop", "RandomCrop", "RandomCrop_CategoryAreaConstraint"]


class FixedSizeCrop(Augmentation):
    """A random crop of the given size; a smaller image is padded on the right and the bottom.

    Args:
        crop_size: (height, width) in pixels.
        pad: False leaves smaller images as they are.
        pad_value, seg_pad_value: values of the padding of image and segmentation.
    """

    def __init__(
        self,
        crop_size: tuple[int, int],
        pad: bool = True,
        pad_value: float = 128.0,
        seg_pad_value: int = 255,
    ):
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> TransformList:
        old = np.array(image.shape[:2])
        room = np.maximum(old - self.crop_size, 0)
        y0, x0 = np.round(room * np.random.uniform(0.0, 1.0)).astype(int)
        crop_h, crop_w = self.crop_size
        crop = CropTransform(x0, y0, crop_w, crop_h, old[1], old[0])
        if not self.pad:
            return TransformList([crop])
        h, w = np.minimum(old, self.crop_size)
        bottom, right = np.maximum(self.crop_size - old, 0)
        pad = PadTransform(0, 0, right, bottom, w, h, self.pad_value, self.seg_pad_value)
        return TransformList([crop, pad])


class RandomCrop(Augmentation):
    """A crop of a fixed or random size at a random place.

    Args:
        crop_type, crop_size: what two numbers (a, b) mean for an image of (H, W):
            "relative": a H by b W;
            "relative_range": random shares from [a, 1] and [b, 1];
            "absolute": a by b pixels, less if the image is smaller;
            "absolute_range": random sides from [a, b] pixels, less if the image is smaller.
    """

    def __init__(self, crop_type: str, crop_size: tuple[float, float]):
        if crop_type not in ("relative_range", "relative", "absolute", "absolute_range"):
            raise UserError(
                f"Crop type '{crop_type}' is unknown: set relative, relative_range, absolute or "
                "absolute_range."
            )
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> Transform:
        height, width = image.shape[:2]
        crop_h, crop_w = self.get_crop_size((height, width))
        assert height >= crop_h and width >= crop_w, f"{self} is larger than the image."
        y0 = np.random.randint(height - crop_h + 1)
        x0 = np.random.randint(width - crop_w + 1)
        return CropTransform(x0, y0, crop_w, crop_h)

    def get_crop_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the crop in pixels, for an image of (height, width)."""
        h, w = image_size
        a, b = self.crop_size
        if self.crop_type == "absolute":
            return min(a, h), min(b, w)
        if self.crop_type == "absolute_range":
            crop_h = np.random.randint(min(h, a), min(h, b) + 1)
            crop_w = np.random.randint(min(w, a), min(w, b) + 1)
            return crop_h, crop_w
        if self.crop_type == "relative_range":
            smallest = np.asarray(self.crop_size, dtype=np.float32)
            a, b = smallest + np.random.rand(2) * (1 - smallest)
        return int(h * a + 0.5), int(w * b + 0.5)


class RandomCrop_CategoryAreaConstraint(Augmentation):  # noqa: N801 (Detectron2's name)
    """A random crop that one class does not fill: the first of ten that fits, else the last.

    A crop fits if it has several classes and the largest covers less than the given share of it.

    Args:
        crop_type, crop_size: see :class:`RandomCrop`.
        single_category_max_area: that share; from 1 on, every crop fits.
        ignored_category: a class that does not count.
    """

    def __init__(
        self,
        crop_type: str,
        crop_size: tuple[float, float],
        single_category_max_area: float = 1.0,
        ignored_category: int | None = None,
    ):
        self.crop_aug = RandomCrop(crop_type, crop_size)
        self._init(locals())

    def get_transform(self, image: np.ndarray, sem_seg: np.ndarray) -> Transform:
        crop = self.crop_aug.get_transform(image)
        if self.single_category_max_area >= 1.0:
            return crop
        for _ in range(9):
            if self._fits(crop.apply_segmentation(sem_seg)):
                break
            crop = self.crop_aug.get_transform(image)
        return crop

    def _fits(self, classes: np.ndarray) -> bool:
        present, areas = np.unique(classes, return_counts=True)
        areas = areas[present != self.ignored_category]
        return len(areas) > 1 and areas.max() < areas.sum() * self.single_category_max_area
