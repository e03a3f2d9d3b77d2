"""Image files that may be damaged, of another kind, or far too large: one sentence names each."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from PIL import Image

from ..deployment import images
from ..utils.errors import UserError

# What Pillow remarks about damaged files is of no use beside our sentence, or beside an image that
# could be read.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())


@contextmanager
def decoding(what: str) -> Iterator[None]:
    """Raise UserError for a file that is missing, no image, too large, cut short or damaged inside.

    Args:
        what: the kind of file and its path, which begin the sentence.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{what} {images.fault_of(error)}") from error


@contextmanager
def open_image(file: str | os.PathLike | IO[bytes], what: str) -> Iterator[Image.Image]:
    """Open an image file with Pillow; only the header is read at once.

    Args:
        what: as for :func:`decoding`, which goes on inside the block.

    Raises:
        UserError: see :func:`decoding`.
    """
    with decoding(what), images.open_image(file) as image:
        yield image
