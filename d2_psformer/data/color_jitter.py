"""The colour jitter of SSD (Liu et al., 2016) with which MaskFormer and Mask2Former train."""

import cv2
import numpy as np

from ..d2.data import transforms as T

_HUES = 180  # of OpenCV's HSV in 8 bits


class ColorJitterTransform(T.Transform):
    """Change brightness, contrast, saturation and hue, rounded to uint8 after each; no geometry.

    Args:
        image_format: "RGB" or "BGR".
        brightness: added to every channel.
        contrast: factor of every channel.
        saturation: factor of the S of HSV.
        hue: added to the H of HSV, of 0...179 for a full turn.
        contrast_last: contrast comes after the hue, not before the saturation.
    """

    def __init__(
        self,
        image_format: str,
        *,
        brightness: float = 0.0,
        contrast: float = 1.0,
        saturation: float = 1.0,
        hue: int = 0,
        contrast_last: bool = False,
    ):
        super().__init__()
        self._set_attributes(locals())

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        img = _linear(img, 1.0, self.brightness)
        if not self.contrast_last:
            img = _linear(img, self.contrast, 0.0)
        if self.saturation != 1:
            img = self._change_hsv(img, 1, _linear(_BYTES, self.saturation, 0.0))
        if self.hue != 0:
            img = self._change_hsv(img, 0, ((_BYTES.astype(int) + self.hue) % _HUES))
        return _linear(img, self.contrast, 0.0) if self.contrast_last else img

    def _change_hsv(self, img: np.ndarray, channel: int, table: np.ndarray) -> np.ndarray:
        """Look up one channel of HSV in a table of 256 values."""
        to_hsv, back = _CONVERSIONS[self.image_format]
        hsv = cv2.cvtColor(img, to_hsv)
        hsv[..., channel] = table[hsv[..., channel]]
        return cv2.cvtColor(hsv, back)

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        return coords

    apply_segmentation = apply_coords


class RandomColorJitter(T.Augmentation):
    """Each change of :class:`ColorJitterTransform` with probability 1/2 and a random strength.

    Brightness +-32, contrast and saturation 0.5 to 1.5, hue +-18 (36 degrees); contrast is the last
    one with probability 1/2.
    """

    def __init__(self, image_format: str):
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> T.Transform:
        changes = {
            "brightness": np.random.uniform(-32, 32),
            "contrast": np.random.uniform(0.5, 1.5),
            "saturation": np.random.uniform(0.5, 1.5),
            "hue": int(np.random.randint(-18, 19)),
            "contrast_last": True,
        }
        chosen = {name: value for name, value in changes.items() if np.random.rand() < 0.5}
        return ColorJitterTransform(self.image_format, **chosen)


_BYTES = np.arange(256, dtype=np.uint8)
_CONVERSIONS = {
    "RGB": (cv2.COLOR_RGB2HSV, cv2.COLOR_HSV2RGB),
    "BGR": (cv2.COLOR_BGR2HSV, cv2.COLOR_HSV2BGR),
}


def _linear(values: np.ndarray, factor: float, offset: float) -> np.ndarray:
    """``factor * values + offset``, clipped to 0...255 and cut to whole numbers: uint8."""
    if (factor, offset) == (1.0, 0.0):
        return values
    table = np.clip(_BYTES.astype(np.float32) * factor + offset, 0, 255).astype(np.uint8)
    return table[values]
