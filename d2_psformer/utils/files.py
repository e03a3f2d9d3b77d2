"""Files that are whole or not there, JSON, pictures, and names that every system accepts."""

import json
import math
import os
import re
import unicodedata
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from .errors import UserError

_PICTURES = {
    ".png": {"format": "PNG"},
    # Colour at full resolution keeps small letters sharp.
    ".jpg": {"format": "JPEG", "quality": 92, "subsampling": 0, "optimize": True},
}
_UNSAFE = re.compile(r'[\\/:*?"<>|\x00-\x1f\x7f]')


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a path beside ``path`` whose file takes that name only if the block succeeds.

    Folders on the way are made, and a link is followed. A reader sees the old file or the whole new
    one, never a part. Nothing happens if the block writes no file.
    """
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    # The extension (OpenCV chooses the format by it) but not the name, which may be at its limit.
    temporary = target.with_name(f".{uuid.uuid4().hex}.tmp{target.suffix[:16]}")
    try:
        # A user does not know the temporary name.
        with naming(path, temporary):
            yield temporary
            if temporary.exists():
                os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def naming(path: str | os.PathLike, *other_names: os.PathLike) -> Iterator[None]:
    """Errors of the system in this block name ``path`` if they name none, as that of a full disk.

    Args:
        other_names: of the same file, to be replaced too.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename in (None, *map(str, other_names)):
            error.filename = str(path)
        raise


@contextmanager
def atomic_write(path: str | os.PathLike, mode: str = "wb") -> Iterator[IO]:
    """Open a file for writing as :func:`atomic_path` describes; text is UTF-8."""
    with (
        atomic_path(path) as temporary,
        open(temporary, mode, encoding=None if "b" in mode else "utf-8") as file,
    ):
        yield file


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write ``value`` as strict JSON, atomically; NaN and Inf become null."""
    with atomic_write(path, "w") as file:
        file.write(json.dumps(finite(value), allow_nan=False))


def finite(value: Any) -> Any:
    """``value`` with null (None) for every NaN and Inf in it, which strict JSON lacks."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: str | os.PathLike) -> Any:
    """Read a JSON file.

    Raises:
        UserError: the file does not exist, or is not JSON.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            return json.load(file)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise UserError(
            f"JSON file '{path}' does not exist: check the path and DETECTRON2_DATASETS."
        ) from error
    except (ValueError, RecursionError) as error:  # of json and of the UTF-8 decoder
        raise UserError(
            f"'{path}' is not valid JSON ({error}): download or write it again."
        ) from error


def write_picture(path: str | os.PathLike, picture: np.ndarray) -> None:
    """Write uint8 (H, W, 3), RGB, atomically; ``path`` ends in .png or .jpg."""
    with atomic_write(path) as file:
        Image.fromarray(picture).save(file, **_PICTURES[Path(path).suffix])


def safe_name(text: str, limit: int = 200) -> str:
    """``text`` as the beginning of a file name: no separators, at most ``limit`` bytes of UTF-8.

    Operating systems allow 255 bytes; the rest is for what the caller appends.
    """
    return _UNSAFE.sub("-", text).encode(errors="ignore")[:limit].decode(errors="ignore")


def comparable_name(name: str) -> str:
    """The same string for names that some file system takes for one: case, Unicode form (NFC)."""
    return unicodedata.normalize("NFC", name).casefold()
