"""Image files as 8-bit colours, upright."""

import contextlib
import os

import numpy as np
from PIL import ExifTags, Image

from ..utils.errors import UserError
from .decoding import decoding, open_image

# Pillow's modes of 16-bit grey, by the format of the file. In others "I" is grey of 32 bits, and
# "I;16" a measurement of any range.
_GREY_16 = {
    "PNG": ("I;16", "I"),
    "PPM": ("I;16", "I"),
    "TIFF": ("I;16", "I;16B"),
    "JPEG2000": ("I;16",),
    None: ("I;16",),  # made in memory
}


def read_pixels(path: str | os.PathLike, image_format: str) -> np.ndarray:
    """Read an image file as uint8 (H, W, 3), upright: an EXIF rotation is applied.

    Grey becomes three equal channels, and transparency is left out. A 16-bit value becomes
    its high byte.

    Args:
        image_format: "RGB" or "BGR".

    Raises:
        UserError: the file is missing or cannot be decoded, or has values (32-bit, floating-point)
            whose black and white are not known; or the format is another one.
    """
    if image_format not in ("RGB", "BGR"):
        raise UserError(f"Image format '{image_format}' is unknown: set INPUT.FORMAT RGB or BGR.")
    with open_image(path, f"Image '{path}'") as image:
        pixels = _upright(rgb_pixels(image, f"Image '{path}'"), _orientation(image))
    return np.ascontiguousarray(pixels if image_format == "RGB" else pixels[:, :, ::-1])


def upright_size(path: str | os.PathLike) -> tuple[int, int]:
    """Height and width of an image with its EXIF rotation applied; only the header is read.

    Raises:
        UserError: the file is missing or is no image.
    """
    with open_image(path, f"Image '{path}'") as image:
        turned = _orientation(image) in (5, 6, 7, 8)
        return image.size if turned else image.size[::-1]


def is_rotated(path: str | os.PathLike) -> bool:
    """True if an EXIF tag turns or mirrors an image that can be read."""
    with open_image(path, f"Image '{path}'") as image:
        return _orientation(image) in range(2, 9)


def rgb_pixels(image: Image.Image, name: str) -> np.ndarray:
    """The pixels of a Pillow image of any mode as uint8 (H, W, 3), as :func:`read_pixels` does.

    An EXIF rotation is not applied.

    Args:
        name: of the image, for messages.

    Raises:
        UserError: the values have no known black and white, or the image's file is damaged.
    """
    with decoding(name):
        return _rgb_pixels(image, name)


def _rgb_pixels(image: Image.Image, name: str) -> np.ndarray:
    if _is_grey_16(image):
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        return np.stack([grey] * 3, axis=-1)
    if image.mode == "F" or image.mode.startswith("I"):  # Pillow would clip these to 0...255
        kind = "floating-point values" if image.mode == "F" else "grey values of more than 8 bits"
        raise UserError(
            f"{name} has {kind}, whose black and white are not known: convert it to "
            "8 bits a channel."
        )
    if image.mode in ("RGBa", "La"):  # Pillow converts these to their plain form alone
        image = image.convert(image.mode.upper())
    return np.asarray(image.convert("RGB"))


def _is_grey_16(image: Image.Image) -> bool:
    """True if the values are grey of 16 bits where 0 is black and 65535 white."""
    if image.format == "TIFF":
        tags = image.tag_v2
        of_12_bits, white_is_0 = tags.get(258) != (16,), tags.get(262) != 1
        if of_12_bits or white_is_0:
            return False
    return image.mode in _GREY_16.get(image.format, ())


def _orientation(image: Image.Image) -> int:
    """The EXIF tag, 1 where there is none; a broken EXIF block does not make a good image bad."""
    with contextlib.suppress(Exception):
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    return 1


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels
