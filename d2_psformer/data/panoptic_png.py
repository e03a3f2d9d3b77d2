"""Panoptic PNGs of the COCO format: segment id = R + 256 G + 65536 B, and 0 is void."""

import os
import struct

import numpy as np
from kornia_rs.io import read_image_png_u8
from PIL import Image

from ..deployment.images import check_pixels
from ..utils.errors import UserError
from ..utils.files import atomic_write
from .decoding import decoding, open_image

MAX_SEGMENT_ID = 2**24 - 1

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOR_TYPES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGBA"}


def read_panoptic_png(path: str | os.PathLike) -> np.ndarray:
    """Read segment ids as an int32 array (H, W).

    8-bit RGB is the format; RGBA counts without its alpha and a palette by its colours (tools that
    shrink PNGs make palettes of RGB). In a grey PNG of 8 or 16 bits the grey value is the id.
    EXIF tags are not applied.

    Raises:
        UserError: the file is missing, is no PNG, is damaged, or is of a kind that cannot hold ids.
    """
    what = f"Panoptic PNG '{path}'"
    with decoding(what):
        color = _check_header(path, what)
        if _COLOR_TYPES[color] == "RGB":
            return _rgb_to_ids(_read_rgb(path))
    with open_image(path, what) as image:
        if image.mode in ("L", "I;16", "I"):
            return np.asarray(image).astype(np.int32)
        return _rgb_to_ids(np.asarray(image.convert("RGB")))


def write_panoptic_png(path: str | os.PathLike, ids: np.ndarray) -> None:
    """Write an integer array (H, W) of segment ids as an 8-bit RGB PNG, atomically.

    Raises:
        ValueError: the array is not two-dimensional and integer, or an id is outside 0...2^24-1.
    """
    ids = np.asarray(ids)
    if ids.ndim != 2 or not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(
            f"Segment ids for '{path}' have shape {ids.shape} and type {ids.dtype}: "
            "pass integers of shape (H, W)."
        )
    if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) <= MAX_SEGMENT_ID:
        raise ValueError(
            f"Segment ids for '{path}' span {ids.min()}...{ids.max()}: "
            f"a panoptic PNG holds 0...{MAX_SEGMENT_ID}."
        )
    with atomic_write(path) as file:
        Image.fromarray(ids_to_rgb(ids)).save(file, format="PNG")


def ids_to_rgb(ids: np.ndarray) -> np.ndarray:
    """Integers (...) of 0...2^24-1 -> uint8 (..., 3)."""
    return np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)


def _read_rgb(path: str | os.PathLike) -> np.ndarray:
    """uint8 (H, W, 3); four times as fast as Pillow, which takes some damaged files for whole."""
    try:
        return read_image_png_u8(os.fspath(path), "rgb")
    except OSError:
        raise
    except Exception as error:  # it raises no class of its own
        raise ValueError(error) from error


def _rgb_to_ids(rgb: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) -> int32 (H, W); floats are exact up to 2^24 and faster than integers."""
    return (rgb @ np.array([1, 256, 65536], np.float32)).astype(np.int32)


def _check_header(path: str | os.PathLike, what: str) -> int:
    """The colour type; refuses bit depths and types that Pillow would convert (16-bit RGB to 8)."""
    with open(path, "rb") as file:
        header = file.read(26)
    if not header.startswith(_PNG_SIGNATURE) or len(header) < 26:
        raise UserError(f"{what} is no PNG: save segment ids as 8-bit RGB PNG.")
    width, height, depth, color = struct.unpack(">IIBB", header[16:])
    check_pixels(width, height)
    holds_ids = {0: depth >= 8, 2: depth == 8, 3: True, 6: depth == 8}
    if not holds_ids.get(color, False):
        raise UserError(
            f"{what} is {_COLOR_TYPES.get(color, 'unknown')} with {depth} bits a "
            "channel, which cannot hold segment ids: save them as 8-bit RGB "
            "(id = R + 256 G + 65536 B)."
        )
    return color
