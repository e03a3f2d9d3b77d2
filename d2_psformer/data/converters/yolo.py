"""YOLO's segmentation labels: one text per image, one polygon per line, and a data.yaml."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ...utils.errors import UserError
from ..files import IMAGE_EXTENSIONS, FolderIndex
from ..images import upright_size
from .records import LabelledImage, Size, Source, stamped, thing_categories
from .shapes import Shape, paint, polygon


class YoloSegments:
    """``data.yaml`` with ``names`` and a folder per split; labels are in ``labels`` for ``images``.

    A line is a class number and x, y of each corner as shares of the image. An image without a
    text has no objects.

    Raises:
        UserError: the YAML has no names, or no folder of the split; the folder has no image.
    """

    takes_folder = False

    def __init__(self, source: Source):
        content = _read_yaml(source.path)
        names = content.get("names")
        names = dict(enumerate(names)) if isinstance(names, list) else names
        if not isinstance(names, dict) or not names:
            raise UserError(f"'{source.path}' has no 'names': list the classes.")
        self._names = {number: str(name) for number, name in names.items()}
        self.images = source.image_folder(_split_folder(content, source))
        self.categories = thing_categories(self._names.values())
        self._labels = _label_folder(self.images)
        self._stuff = source.stuff or ()
        index = FolderIndex(self.images)
        self._files = [p for p in index.paths("") if p.lower().endswith(IMAGE_EXTENSIONS)]
        if not self._files:
            raise UserError(f"Folder '{self.images}' has no images: check '{source.path}'.")
        if not self._labels.is_dir():
            raise UserError(
                f"Folder '{self._labels}' does not exist: put the labels of '{self.images}' there."
            )

    def items(self) -> list[tuple[str, str]]:
        return [(stamped(self._label_file(name)), name) for name in self._files]

    def _label_file(self, image: str) -> Path:
        return (self._labels / image).with_suffix(".txt")

    def read(self, item: str) -> LabelledImage:
        path, labels = self.images / item, self._label_file(item)
        size = upright_size(path)
        lines = labels.read_text(encoding="utf-8", errors="replace") if labels.exists() else ""
        shapes = [
            self._shape(line.split(), size, f"Line {number} of '{labels}'")
            for number, line in enumerate(lines.splitlines(), start=1)
            if line.strip()
        ]
        return LabelledImage(str(path), *paint(shapes, size, self._stuff))

    def _shape(self, parts: list[str], size: Size, where: str) -> Shape:
        if len(parts) == 5:
            raise UserError(
                f"{where} is a box (class x y width height), which has no outline: export the data "
                "as segmentation, with polygons."
            )
        try:
            number, shares = int(parts[0]), np.array(parts[1:], np.float64)
        except ValueError as error:
            raise UserError(f"{where} holds no numbers: write 'class x y x y x y ...'.") from error
        if number not in self._names:
            raise UserError(
                f"{where} has class {number}, which 'names' does not list: add it or correct it."
            )
        if len(shares) % 2:
            raise UserError(f"{where} has {len(shares)} coordinates: write x and y of each corner.")
        if not ((shares >= -0.01) & (shares <= 1.01)).all():  # NaN is none of them
            raise UserError(
                f"{where} has coordinates outside of 0...1: divide by the image's size."
            )
        points = shares.reshape(-1, 2) * (size[1], size[0])
        return Shape(self._names[number], polygon(points, size, where))


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"'{path}' is not valid YAML ({reason}): correct it.") from error
    if not isinstance(content, dict):
        raise UserError(f"'{path}' is no mapping: give YOLO's data.yaml.")
    return content


def _split_folder(content: dict[str, Any], source: Source) -> Path | None:
    """The folder of images of the split.

    Beside ``path`` of the YAML, which is often that of another machine, its own folder is tried;
    some exports write ../train/images for train/images.
    """
    given = content.get(source.split)
    if source.images:
        return None
    if not isinstance(given, str) or given.endswith(".txt"):
        raise UserError(
            f"'{source.split}' of '{source.path}' is {given!r} instead of one folder of images: "
            "choose another --split, or name the folder with --images."
        )
    here = source.path.parent
    folders = [here / str(content.get("path") or "") / given, here / given]
    folders.append(here / given.removeprefix("../"))
    return next((folder for folder in folders if folder.is_dir()), folders[0])


def _label_folder(images: Path) -> Path:
    """The same path with its last part ``images`` as ``labels``, else ``labels`` beside it."""
    parts = list(images.resolve().parts)
    for place in reversed(range(len(parts))):
        if parts[place] == "images":
            return Path(*parts[:place], "labels", *parts[place + 1 :])
    return images.parent / "labels"
