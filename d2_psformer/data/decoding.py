"""Opening image files that may be damaged, of another kind, or far too large."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from PIL import Image

from ..utils.errors import UserError

# Larger images fill the memory: a PNG of a few kilobytes can hold them.
MAX_PIXELS = 100_000_000

# What Pillow remarks about damaged files is of no use beside our sentence, or beside an image that
# could be read.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())


@contextmanager
def decoding(what: str) -> Iterator[None]:
    """Raise UserError for a file that is missing, no image, cut short or damaged inside.

    Pillow raises nearly every kind of error for damaged files.

    Args:
        what: the kind of file and its path, which begin the sentence.
    """
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{what} does not exist: check its folder.") from error
    except Image.DecompressionBombError as error:
        raise _too_large(what) from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise UserError(f"{what} cannot be read ({error.strerror}).") from error
        raise UserError(
            f"{what} cannot be decoded ({error or type(error).__name__}): download or write it "
            "again, or leave it out."
        ) from error


@contextmanager
def open_image(file: str | os.PathLike | IO[bytes], what: str) -> Iterator[Image.Image]:
    """Open an image file with Pillow; only the header is read at once.

    Args:
        what: as for :func:`decoding`, which goes on inside the block.

    Raises:
        UserError: see :func:`decoding`; or the image has more than ``MAX_PIXELS`` pixels.
    """
    with decoding(what), Image.open(file) as image:
        check_pixels(*image.size, what)
        if image.format == "EPS":  # Pillow would start Ghostscript
            raise UserError(f"{what} is a program in PostScript: save it as PNG.")
        yield image


def check_pixels(width: int, height: int, what: str) -> None:
    """Raise UserError for more than ``MAX_PIXELS``."""
    if width * height > MAX_PIXELS:
        raise _too_large(what, f"{width} x {height} pixels")


def _too_large(what: str, size: str = "many more") -> UserError:
    return UserError(
        f"{what} has {size}, but {MAX_PIXELS // 10**6} million pixels are the limit: cut it into "
        "tiles, or make it smaller."
    )
