"""Image files as 8-bit colours, upright."""

import os

import numpy as np
from PIL import Image

from ..deployment import images
from ..utils.errors import UserError
from .decoding import decoding, open_image


def read_pixels(path: str | os.PathLike, image_format: str) -> np.ndarray:
    """Read an image file as uint8 (H, W, 3), upright: an EXIF rotation is applied.

    Its values are those of :func:`d2_psformer.deployment.images.read_image`.

    Args:
        image_format: "RGB" or "BGR".

    Raises:
        UserError: the file is missing or cannot be decoded, or has values (32-bit, floating-point)
            whose black and white are not known; or the format is another one.
    """
    if image_format not in ("RGB", "BGR"):
        raise UserError(f"Image format '{image_format}' is unknown: set INPUT.FORMAT RGB or BGR.")
    with decoding(f"Image '{path}'"):
        pixels = images.read_rgb(path)
    return pixels if image_format == "RGB" else np.ascontiguousarray(pixels[:, :, ::-1])


def upright_size(path: str | os.PathLike) -> tuple[int, int]:
    """Height and width of an image with its EXIF rotation applied; only the header is read.

    Raises:
        UserError: the file is missing or is no image.
    """
    with open_image(path, f"Image '{path}'") as image:
        turned = images.orientation(image) in (5, 6, 7, 8)
        return image.size if turned else image.size[::-1]


def is_rotated(path: str | os.PathLike) -> bool:
    """True if an EXIF tag turns or mirrors an image that can be read."""
    with open_image(path, f"Image '{path}'") as image:
        return images.orientation(image) in range(2, 9)


def rgb_pixels(image: Image.Image, name: str) -> np.ndarray:
    """The pixels of a Pillow image of any mode as uint8 (H, W, 3), as :func:`read_pixels` does.

    An EXIF rotation is not applied.

    Args:
        name: of the image, for messages.

    Raises:
        UserError: the values have no known black and white, or the image's file is damaged.
    """
    with decoding(name):
        return images.rgb_pixels(image)
