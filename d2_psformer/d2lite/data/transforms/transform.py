"""Resizing, the only transform here that fvcore does not have."""

import numpy as np
import torch
import torch.nn.functional as F
from fvcore.transforms.transform import Transform
from PIL import Image

_TORCH_MODES = {
    Image.Resampling.NEAREST: "nearest",
    Image.Resampling.BILINEAR: "bilinear",
    Image.Resampling.BICUBIC: "bicubic",
}


class ResizeTransform(Transform):
    """Resize (h, w) to (new_h, new_w): uint8 by Pillow (which antialiases), floats by torch.

    Args:
        interp: one of Pillow's resampling filters for images; segmentations are always "nearest".
    """

    def __init__(self, h: int, w: int, new_h: int, new_w: int, interp: int | None = None):
        super().__init__()
        self.h, self.w, self.new_h, self.new_w = h, w, new_h, new_w
        self.interp = Image.Resampling.BILINEAR if interp is None else interp

    def apply_image(self, img: np.ndarray, interp: int | None = None) -> np.ndarray:
        """``img`` is (H,W), (H,W,C) or, if not uint8, also (H,W,1,C)."""
        assert img.shape[:2] == (self.h, self.w), (
            f"Expected an image of {self.h}x{self.w} pixels, got {img.shape[0]}x{img.shape[1]}."
        )
        interp = self.interp if interp is None else interp
        if img.dtype == np.uint8:
            return self._resize_bytes(img, interp)
        pixels = torch.from_numpy(np.require(img, requirements="CW")).reshape(self.h, self.w, -1)
        mode = _TORCH_MODES[interp]
        resized = F.interpolate(
            pixels.permute(2, 0, 1)[None],
            (self.new_h, self.new_w),
            mode=mode,
            align_corners=None if mode == "nearest" else False,
        )
        return resized[0].permute(1, 2, 0).reshape(self.new_h, self.new_w, *img.shape[2:]).numpy()

    def _resize_bytes(self, img: np.ndarray, interp: int) -> np.ndarray:
        single_channel = img.ndim == 3 and img.shape[2] == 1
        image = Image.fromarray(img[:, :, 0] if single_channel else img)
        resized = np.asarray(image.resize((self.new_w, self.new_h), interp))
        return resized[:, :, None] if single_channel else resized

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        coords[:, 0] = coords[:, 0] * (self.new_w / self.w)
        coords[:, 1] = coords[:, 1] * (self.new_h / self.h)
        return coords

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        return self.apply_image(segmentation, interp=Image.Resampling.NEAREST)

    def inverse(self) -> "ResizeTransform":
        return ResizeTransform(self.new_h, self.new_w, self.h, self.w, self.interp)
