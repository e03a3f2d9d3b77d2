"""What a user gives to be segmented, as images one after the other."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeGuard

import numpy as np
from torch import Tensor

from ..data.images import read_pixels
from ..utils.errors import UserError
from ..visualization import Input, Video, find_inputs
from .configs import StrPath
from .images import ImageLike, Pixels, to_rgb

Source: TypeAlias = StrPath | ImageLike
Several: TypeAlias = list[Any] | tuple[Any, ...]  # of sources


@dataclass(frozen=True)
class NamedImage:
    """An image to be segmented, uint8 (H, W, 3), RGB; see :class:`.PanopticResult`.

    Attributes:
        where: names the image in messages.
    """

    pixels: Pixels
    name: str
    where: str
    source: str = ""


@dataclass(frozen=True)
class UnreadImage:
    """An image that cannot be read."""

    where: str
    error: Exception


class Images:
    """The images of any source, each read when it is its turn.

    Attributes:
        is_one: the source is one image, neither several, a folder, a pattern nor a video.
        is_list: the source is a list or a batch.

    Raises:
        UserError: the source is a path that does not exist.
    """

    def __init__(self, source: Source | Several | Iterator[Source]):
        self.is_one = self.is_list = False
        self._items: Iterable[Any]
        if isinstance(source, str | os.PathLike):
            self._items = files = _find(source)
            self.is_one = Path(source).expanduser().is_file() and not files[0].is_video
        elif isinstance(source, list | tuple) or _is_batch(source):
            self.is_list = True
            self._items = [*_each(source)]
        elif isinstance(source, Iterator):  # a camera, for example
            self._items = source
        else:
            self.is_one = True
            self._items = [source]

    @property
    def count(self) -> int | None:
        """How many images there are, frames of videos included; None where that is unknown."""
        if not isinstance(self._items, list):
            return None
        counts = [_count(item) for item in self._items]
        return sum(counts) if all(counts) else None

    def __iter__(self) -> Iterator[NamedImage | UnreadImage]:
        names: set[str] = set()
        for number, item in enumerate(_each(self._items), start=1):
            if isinstance(item, UnreadImage):
                yield item
                continue
            where = str(item.path) if isinstance(item, Input) else f"Image {number}"
            try:
                yield from self._read(item, number, where, names)
            except Exception as error:  # whatever is wrong with it, the others are read
                yield UnreadImage(where, error)

    def _read(self, item: Any, number: int, where: str, names: set[str]) -> Iterator[NamedImage]:
        if not isinstance(item, Input):
            name = "image" if self.is_one else f"image_{number}"
            yield NamedImage(to_rgb(item, "The image" if self.is_one else where), name, where)
            return
        name = item.name if item.name not in names else f"{item.name}_{number}"
        names.add(name)
        if item.is_video:
            for frame, pixels in enumerate(Video(item.path)):
                at = f"{where}, frame {frame}"
                yield NamedImage(pixels, f"{name}_{frame:06d}", at, str(item.path))
        else:
            yield NamedImage(read_pixels(item.path, "RGB"), name, where, str(item.path))


def _is_batch(source: Any) -> TypeGuard[Iterable[Any]]:
    return isinstance(source, np.ndarray | Tensor) and source.ndim == 4


def _each(items: Iterable[Any]) -> Iterator[Any]:
    """The files behind paths, or why there are none; anything else as it is."""
    for given in items:
        try:
            yield from _find(given) if isinstance(given, str | os.PathLike) else [given]
        except UserError as error:
            yield UnreadImage(os.fspath(given), error)


def _find(path: StrPath) -> list[Input]:
    if "://" in (text := os.fspath(path)):
        raise UserError(f"'{text}' is an address: download the file and give its path.")
    return find_inputs([text])


def _count(item: Any) -> int:
    if not (isinstance(item, Input) and item.is_video):
        return 1
    with suppress(UserError):  # which is raised when it is its turn
        return Video(item.path).length
    return 0
