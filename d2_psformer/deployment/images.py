"""Image files that may be damaged, of another kind, or far too large, as 8-bit colours."""

import contextlib
import os
from collections.abc import Iterator
from typing import IO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

# Larger images fill the memory: a PNG of a few kilobytes can hold them.
MAX_PIXELS = 100_000_000
# Pillow's modes of 16-bit grey, by the format of the file. In others "I" is grey of 32 bits, and
# "I;16" a measurement of any range.
_GREY_16 = {
    "PNG": ("I;16", "I"),
    "PPM": ("I;16", "I"),
    "TIFF": ("I;16", "I;16B"),
    "JPEG2000": ("I;16",),
    None: ("I;16",),  # made in memory
}


class ImageError(ValueError):
    """Why an image has no pixels for us; the name of the image begins the sentence."""


def read_image(file: str | os.PathLike | IO[bytes], name: str | None = None) -> np.ndarray:
    """Any picture that Pillow reads, upright, as uint8 (H, W, 3) RGB.

    Grey becomes three equal channels, and transparency is left out. A 16-bit value becomes
    its high byte.

    Args:
        file: a path, or an open file.
        name: of the image, for messages; that of the file unless it is given.

    Raises:
        ValueError: one sentence: the file is missing or cannot be decoded, has more than
            ``MAX_PIXELS`` pixels, or has values (32-bit, floating-point) whose black and white are
            not known.
    """
    try:
        return read_rgb(file)
    except Exception as error:
        raise ImageError(f"Image '{file if name is None else name}' {fault_of(error)}") from error


def read_rgb(file: str | os.PathLike | IO[bytes]) -> np.ndarray:
    """As :func:`read_image`, with errors that :func:`fault_of` explains."""
    with open_image(file) as image:
        return _upright(rgb_pixels(image), orientation(image))


@contextlib.contextmanager
def open_image(file: str | os.PathLike | IO[bytes]) -> Iterator[Image.Image]:
    """Open an image file with Pillow; only the header is read at once.

    Raises:
        ImageError: it has more than ``MAX_PIXELS`` pixels, or is a program.
        Exception: of any other kind, if it is missing or damaged.
    """
    with Image.open(file) as image:
        check_pixels(*image.size)
        if image.format == "EPS":  # Pillow would start Ghostscript
            raise ImageError("is a program in PostScript: save it as PNG.")
        yield image


def check_pixels(width: int, height: int) -> None:
    """Raise ImageError for more than ``MAX_PIXELS``."""
    if width * height > MAX_PIXELS:
        raise ImageError(_too_large(f"{width} x {height} pixels"))


def _too_large(size: str) -> str:
    return (
        f"has {size}, but {MAX_PIXELS // 10**6} million pixels are the limit: cut it into tiles, "
        "or make it smaller."
    )


def fault_of(error: Exception) -> str:
    """The end of the sentence on an image whose reading raised ``error``.

    Pillow raises nearly every kind of error for damaged files.
    """
    if isinstance(error, ImageError):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return "does not exist: check its folder."
    if isinstance(error, Image.DecompressionBombError):
        return _too_large("many more")
    if isinstance(error, OSError) and error.errno is not None:
        return f"cannot be read ({error.strerror})."
    reason = str(error) or type(error).__name__
    if isinstance(error, UnidentifiedImageError):  # its text may have a file's place in memory
        reason = "of no kind that Pillow reads"
    return f"cannot be decoded ({reason}): download or write it again, or leave it out."


def rgb_pixels(image: Image.Image) -> np.ndarray:
    """The pixels of a Pillow image of any mode as uint8 (H, W, 3), not turned upright.

    Raises:
        ImageError: the values have no known black and white.
        Exception: of any other kind, if the image's file is damaged.
    """
    if _is_grey_16(image):
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        return np.stack([grey] * 3, axis=-1)
    if image.mode == "F" or image.mode.startswith("I"):  # Pillow would clip these to 0...255
        kind = "floating-point values" if image.mode == "F" else "grey values of more than 8 bits"
        raise ImageError(
            f"has {kind}, whose black and white are not known: convert it to 8 bits a channel."
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


def orientation(image: Image.Image) -> int:
    """The EXIF tag, 1 where there is none; a broken EXIF block does not make a good image bad."""
    with contextlib.suppress(Exception):
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    return 1


def _upright(pixels: np.ndarray, exif: int) -> np.ndarray:
    if exif in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if exif in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if exif in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
