"""The resize, the random scale and the padding of deeplab2, which MaX-DeepLab is trained with."""

import numpy as np
import torch
import torch.nn.functional as F

from ..d2.config import CfgNode
from ..d2.data import transforms as T
from ..utils.aligned_corners import nearest_places
from ..utils.checks import check_at_least

GREY = 127.5  # between the smallest and the largest value of a pixel


class AlignedResizeTransform(T.Transform):
    """Resize (h, w) to (new_h, new_w) with aligned corners, images to float32.

    Images are interpolated, segmentations show the nearest pixel.
    """

    def __init__(self, h: int, w: int, new_h: int, new_w: int):
        super().__init__()
        self._set_attributes(locals())

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        maps = torch.from_numpy(np.ascontiguousarray(img.transpose(2, 0, 1), np.float32))
        size = self.new_h, self.new_w
        resized = F.interpolate(maps[None], size, mode="bilinear", align_corners=True)
        return resized[0].permute(1, 2, 0).numpy()

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        rows = segmentation[nearest_places(self.h, self.new_h)]
        return rows[:, nearest_places(self.w, self.new_w)]

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        """Centres of pixels lie at halves, and the first and the last centre stay."""
        lengths = (self.w, self.new_w), (self.h, self.new_h)
        scale = [(new - 1) / max(old - 1, 1) for old, new in lengths]
        coords[:] = (coords - 0.5) * scale + 0.5
        return coords

    def inverse(self) -> T.Transform:
        return AlignedResizeTransform(self.new_h, self.new_w, self.h, self.w)


class FitSquare(T.Augmentation):
    """Resize so that the long side has ``size`` pixels, or one less by rounding twice."""

    def __init__(self, size: int):
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> T.Transform:
        old = np.float32(image.shape[:2])
        covering = np.floor(old * (self.size / old).max())
        return _resize(image, covering * min((self.size / covering).min(), 1))


class RandomAlignedScale(T.Augmentation):
    """Resize by one of ``scales``."""

    def __init__(self, scales: np.ndarray):
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> T.Transform:
        return _resize(image, np.float32(image.shape[:2]) * np.random.choice(self.scales))


class PadAnywhere(T.Augmentation):
    """Pad to at least ``size`` x ``size`` pixels, the image at a random place.

    In segmentations the padding is 0, hence no part of a ``padding_mask``, which is for the right
    and the bottom alone, but pixels without a segment.
    """

    def __init__(self, size: int):
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> T.Transform:
        height, width = image.shape[:2]
        free = [max(self.size - side, 0) for side in (height, width)]
        top, left = (np.random.randint(pixels + 1) for pixels in free)
        sides = left, top, free[1] - left, free[0] - top
        return T.PadTransform(*sides, width, height, pad_value=GREY)


def deeplab2_recipe(node: CfgNode) -> list[T.Augmentation]:
    """Resize, random scale, padding and random crop of INPUT.DEEPLAB2; the flip follows."""
    key = "INPUT.DEEPLAB2"
    check_at_least(1, **{f"{key}.SIZE": node.SIZE, f"{key}.STEPS": node.STEPS})
    check_at_least(0, **{f"{key}.MIN_SCALE": node.MIN_SCALE})
    check_at_least(node.MIN_SCALE, **{f"{key}.MAX_SCALE": node.MAX_SCALE})
    scales = np.linspace(node.MIN_SCALE, node.MAX_SCALE, node.STEPS, dtype=np.float32)
    size = node.SIZE
    crop = T.RandomCrop("absolute", (size, size))
    return [FitSquare(size), RandomAlignedScale(scales), PadAnywhere(size), crop]


def _resize(image: np.ndarray, size: np.ndarray) -> T.Transform:
    """To a size (height, width) that is rounded down, but to one pixel at least."""
    return AlignedResizeTransform(*image.shape[:2], *(max(int(side), 1) for side in size))
