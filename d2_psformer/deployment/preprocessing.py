"""An image -> what the network reads."""

import math
from typing import Any

import numpy as np
from PIL import Image

from .interpolation import resize

Size = tuple[int, int]  # height, width


def prepare(image: np.ndarray, settings: dict[str, Any]) -> tuple[np.ndarray, Size]:
    """Resize an image and put it into the upper left corner of a canvas.

    Args:
        image: uint8 (H, W, 3), RGB.
        settings: of the file, see :class:`.Model`.

    Returns:
        float32 (3, H', W'), 0...255, and the size of the image on it.

    Raises:
        ValueError: the image is of another type or shape.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(
            f"The image is {image.dtype} of shape {image.shape}: pass uint8 (H, W, 3), RGB."
        )
    size = fitting_size(image.shape[:2], settings)
    if settings["resize"]["aligned"]:
        pixels = resize(image.transpose(2, 0, 1).astype(np.float32), size, aligned=True)
    else:
        picture = Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR)
        pixels = np.asarray(picture, np.float32).transpose(2, 0, 1)
    canvas = np.zeros((3, *canvas_size(size, settings)), np.float32)
    canvas[:, : size[0], : size[1]] = pixels
    return canvas, size


def fitting_size(size: Size, settings: dict[str, Any]) -> Size:
    """The size to which an image is resized: at least one pixel."""
    height, width = size
    rule = settings["resize"]
    if settings["canvas"] and not rule["aligned"]:  # as large as fits into the fixed canvas
        scale = min(settings["canvas"][0] / height, settings["canvas"][1] / width)
    elif rule["aligned"]:
        return _fit_square(size, rule["long"])
    elif rule["short"] == 0:
        scale = 1.0
    else:
        scale = rule["short"] / min(height, width)
        new = sorted((rule["short"], scale * max(height, width)))
        if new[1] > rule["long"]:
            scale *= rule["long"] / new[1]
    return max(int(height * scale + 0.5), 1), max(int(width * scale + 0.5), 1)


def canvas_size(size: Size, settings: dict[str, Any]) -> Size:
    """The canvas of an image of this size: fixed, or the next size that the network takes."""
    if settings["canvas"]:
        return tuple(settings["canvas"])
    multiple, more = settings["multiple"], settings["more"]
    height, width = (
        math.ceil((max(side, more + 1) - more) / multiple) * multiple + more for side in size
    )
    return height, width


def _fit_square(size: Size, long: int) -> Size:
    """deeplab2's resize: the long side has ``long`` pixels, or one less by rounding twice."""
    old = np.float32(size)
    covering = np.floor(old * (long / old).max())
    height, width = covering * min((long / covering).min(), 1)
    return max(int(height), 1), max(int(width), 1)
