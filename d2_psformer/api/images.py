"""Images of every kind that people have, as 8-bit colours."""

from typing import Any, TypeAlias

import numpy as np
from PIL import Image
from torch import Tensor

from ..data.images import rgb_pixels
from ..utils.errors import UserError

ImageLike: TypeAlias = Image.Image | np.ndarray[Any, Any] | Tensor
Pixels: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]

_CHANNELS = (1, 3, 4)


def to_rgb(image: ImageLike, name: str = "The image") -> Pixels:
    """Convert an image in memory to uint8 (H, W, 3), RGB.

    Grey becomes three equal channels, and transparency is left out. A 16-bit value becomes its
    high byte; floating-point values are 0...1. Where the first and the last axis both could be the
    channels, they are the last of an array and the first of a tensor.

    Args:
        image: a Pillow image of any mode (its EXIF rotation is not applied), or an array or tensor
            (H, W), (H, W, C) or (C, H, W) of 1, 3 or 4 channels, of uint8, uint16 or floats.
        name: of the image, for messages.

    Raises:
        UserError: the image is of another type or shape, or the range of its values is not known.
    """
    if isinstance(image, Image.Image):
        if 0 in image.size:
            raise UserError(f"{name} is empty: its size is {image.size}.")
        return np.ascontiguousarray(rgb_pixels(image, name))
    channels_first = isinstance(image, Tensor)
    if isinstance(image, Tensor):
        image = image.detach().cpu()
        array = (image.float() if image.is_floating_point() else image).numpy()
    elif isinstance(image, np.ndarray):
        array = image
    else:
        raise UserError(
            f"{name} is a {type(image).__name__}: give a path, a Pillow image, a NumPy array or a "
            "tensor."
        )
    pixels = _to_bytes(_with_channels_last(array, channels_first, name), name)
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    return np.ascontiguousarray(pixels[:, :, :3])


def _with_channels_last(
    array: np.ndarray[Any, Any], channels_first: bool, name: str
) -> np.ndarray[Any, Any]:
    if array.ndim == 2 and array.size:
        return array[:, :, None]
    if array.ndim == 3 and array.size:
        axes = (0, 2) if channels_first else (2, 0)
        for axis in axes:
            if array.shape[axis] in _CHANNELS:
                return np.moveaxis(array, axis, 2)
    raise UserError(
        f"{name} has the shape {array.shape}: give (H, W), (H, W, C) or (C, H, W) of 1, 3 or 4 "
        "channels."
    )


def _to_bytes(array: np.ndarray[Any, Any], name: str) -> Pixels:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.uint16:
        return (array >> 8).astype(np.uint8)
    if array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())
        if low >= 0 and high <= 1:  # false for NaN
            return np.round(array * 255).astype(np.uint8)
        raise UserError(
            f"{name} has {array.dtype} values from {low:.4g} to {high:.4g}: give floats of 0 to 1, "
            "or uint8 of 0 to 255, and no normalised values, as the model normalises."
        )
    raise UserError(
        f"{name} has values of {array.dtype}: give uint8 of 0 to 255, uint16 of 0 to 65535 or "
        "floats of 0 to 1."
    )
