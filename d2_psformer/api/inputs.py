"""What a user gives to be segmented, as images one after the other."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
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
    """An image to be segmented, uint8 (H, W, 3), RGB; see :class:`.PanopticResult`."""

    pixels: Pixels
    name: str
    source: str = ""


class Images:
    """The images of any source, each read when it is its turn.

    Attributes:
        is_one: the source is one image, neither several, a folder, a pattern nor a video.
        is_list: the source is a list or a batch.

    Raises:
        UserError: a path does not exist, or the source is of another type.
    """

    def __init__(self, source: Source | Several | Iterator[Source]):
        self.is_one = self.is_list = False
        self._items: Iterable[Any]
        if isinstance(source, str | os.PathLike):
            self._items = files = _find(source)
            self.is_one = Path(source).expanduser().is_file() and not files[0].is_video
        elif isinstance(source, list | tuple) or _is_batch(source):
            self.is_list = True
            self._items = [item for given in source for item in _expanded(given)]
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

    def __iter__(self) -> Iterator[NamedImage | UserError]:
        """The images, and in the place of one that cannot be read its error."""
        names, numbers = set[str](), count(1)
        for given in self._items:
            try:
                yield from self._read(given, names, numbers)
            except UserError as error:
                yield error

    def _read(self, given: Any, names: set[str], numbers: Iterator[int]) -> Iterator[NamedImage]:
        for item, number in zip(_expanded(given), numbers, strict=False):
            if not isinstance(item, Input):
                yield self._in_memory(item, number)
                continue
            name = item.name if item.name not in names else f"{item.name}_{number}"
            names.add(name)
            if item.is_video:
                for frame, pixels in enumerate(Video(item.path)):
                    yield NamedImage(pixels, f"{name}_{frame:06d}", str(item.path))
            else:
                yield NamedImage(read_pixels(item.path, "RGB"), name, str(item.path))

    def _in_memory(self, image: Any, number: int) -> NamedImage:
        if self.is_one:
            return NamedImage(to_rgb(image), "image")
        return NamedImage(to_rgb(image, f"Image {number}"), f"image_{number}")


def _is_batch(source: Any) -> TypeGuard[Iterable[Any]]:
    return isinstance(source, np.ndarray | Tensor) and source.ndim == 4


def _expanded(given: Any) -> list[Any]:
    """The files behind a path; anything else as it is."""
    return _find(given) if isinstance(given, str | os.PathLike) else [given]


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
