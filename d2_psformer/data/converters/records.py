"""What every reader of a format yields, whatever the format: images and their segments."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from ...utils.errors import UserError
from ..files import IMAGE_EXTENSIONS, FolderIndex
from ..images import upright_size

Size = tuple[int, int]


@dataclass(frozen=True)
class Segment:
    """One object, or all pixels of a stuff class.

    Attributes:
        id: of its pixels in the id map of the image, from 1 on.
        class_name: of the category.
        iscrowd: the pixels are a group of objects that are not separated.
        score: of a prediction.
    """

    id: int
    class_name: str
    iscrowd: bool = False
    score: float | None = None


@dataclass(frozen=True)
class LabelledImage:
    """An image with its segments.

    Attributes:
        path: of the image file.
        ids: integers (H, W), the segment of each pixel; 0 is void. The frame is that of the
            upright image.
        segments: the segments; each has another id.
        image_id: of the source; None where the format has none.
    """

    path: str
    ids: np.ndarray
    segments: Sequence[Segment]
    image_id: int | str | None = None


@dataclass(frozen=True)
class Source:
    """Where the annotation of one split is, and what a user said about it.

    Attributes:
        path: a file or folder, see each format.
        images: folder of the images; None for the format's own place.
        classes: the names, each perhaps as NAME=VALUE; None for those that the source names.
        stuff: names of the stuff classes; None for what the format says itself, else things.
        void: pixel values of no class; None for those of the format.
        split: which part of a source that has several.
        suffixes: of a label PNG and of its image, after the name that they have in common.
        categories: a JSON with ``categories`` for predictions that have none; Mapillary's config.
    """

    path: Path
    images: Path | None = None
    classes: Sequence[str] | None = None
    stuff: Sequence[str] | None = None
    void: Sequence[int] | None = None
    split: str = "train"
    suffixes: tuple[str, str] = (".png", ".png")
    categories: Path | None = None

    def image_folder(self, default: Path | None = None) -> Path:
        """The folder of the images.

        Raises:
            UserError: none was given, and the format has no place of its own.
        """
        folder = self.images or default
        if folder is None:
            raise UserError(f"'{self.path}' does not say where its images are: add --images DIR.")
        return folder


class Reader(Protocol):
    """Reads one format. The constructor takes a :class:`Source` and finds out the classes.

    Attributes:
        takes_folder: the source is a folder, not a file.
        uses: the fields of the source that it reads besides path, images and split.
        images: folder of all images.
        categories: ``name`` and ``isthing`` of each class, perhaps ``id`` and ``color``.
    """

    takes_folder: ClassVar[bool]
    uses: ClassVar[Sequence[str]]
    images: Path
    categories: list[dict[str, Any]]

    def __init__(self, source: Source): ...

    def items(self) -> Iterable[tuple[str, Any]]:
        """Per image a key, which changes with its annotation, and what :meth:`read` takes."""

    def read(self, item: Any) -> LabelledImage:
        """The image of an item; runs in other processes."""


def thing_categories(names: Iterable[str]) -> list[dict[str, Any]]:
    """Categories of names, all of them things."""
    return [{"name": name, "isthing": 1} for name in names]


def stamped(path: str | os.PathLike) -> str:
    """A key that changes with the file; it need not exist."""
    return f"{path}:{os.stat(path).st_mtime_ns if os.path.exists(path) else 0}"


def find_image(folder: FolderIndex, name: str, where: str) -> str:
    """Path of an image of a source; nothing outside of the folder is looked at.

    Raises:
        UserError: it is not there.
    """
    path = folder.find(name, IMAGE_EXTENSIONS)
    if path is None:
        raise UserError(
            f"Image '{name}' of {where} is not in '{folder.folder}', under no known extension: "
            "check the image folder."
        )
    return path


def checked_size(path: str, stated: Size, where: str) -> Size:
    """Height and width of an image, which the source states too.

    Raises:
        UserError: they differ.
    """
    size = upright_size(path)
    if size != stated:
        raise UserError(
            f"{where} says that image '{path}' is {stated[1]} x {stated[0]} pixels, but upright it "
            f"is {size[1]} x {size[0]}: annotate this image, or name the folder of the right one."
        )
    return size


def check_label(name: str, names: Iterable[str], where: str) -> None:
    """Refuse a class that is not listed."""
    if name not in names:
        raise UserError(
            f"{where} has class '{name}', which is none of the classes {', '.join(names)}: add it "
            "or correct the label."
        )
