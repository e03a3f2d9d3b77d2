"""Writing pictures."""

import os
from pathlib import Path

import numpy as np
from PIL import Image

from ..data.files import atomic_write

_OPTIONS = {
    ".png": {"format": "PNG"},
    # colour at full resolution keeps small letters sharp
    ".jpg": {"format": "JPEG", "quality": 92, "subsampling": 0},
}


def write_picture(path: str | os.PathLike, picture: np.ndarray) -> None:
    """Write uint8 (H, W, 3), RGB, atomically; ``path`` ends in .png or .jpg."""
    with atomic_write(path) as file:
        Image.fromarray(picture).save(file, **_OPTIONS[Path(path).suffix])
