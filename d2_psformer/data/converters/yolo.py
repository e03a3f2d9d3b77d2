"""YOLO's segmentation labels: one text per image, one polygon per line, and a data.yaml."""

from pathlib import Path
from typing import Any

import numpy as np

from ...utils.errors import UserError
from ...utils.safe_yaml import read_yaml
from ..images import upright_size
from .records import LabelledImage, Size, Source, stamped, thing_categories
from .shapes import Shape, paint, polygon
from .yolo_files import common_folder, images_of_split, label_text


class YoloSegments:
    """``data.yaml`` with ``names`` and images per split; labels are in ``labels`` for ``images``.

    A line is a class number and x, y of each corner as shares of the image. An image without a
    text has no objects.

    Raises:
        UserError: the YAML has no names or images of the split, or there is no label text.
    """

    takes_folder, uses = False, ("stuff",)

    def __init__(self, source: Source):
        content = read_yaml(source.path.read_bytes(), f"'{source.path}'")
        self._names = _class_names(content.get("names"), source.path)
        self._stuff = source.stuff or ()
        self.categories = thing_categories(self._names.values())
        images = images_of_split(content, source)
        self._texts = {image: label_text(image) for image in images}
        self.images = source.image_folder(common_folder(images))
        if not any(text.exists() for text in self._texts.values()):
            raise UserError(
                f"None of the images of '{source.split}' has a text, the first is "
                f"'{self._texts[images[0]]}': put the labels there."
            )

    def items(self) -> list[tuple[str, Path]]:
        return [(f"{image}|{stamped(text)}", image) for image, text in self._texts.items()]

    def read(self, item: Path) -> LabelledImage:
        size, text = upright_size(item), self._texts[item]
        lines = text.read_text(encoding="utf-8-sig", errors="replace") if text.exists() else ""
        shapes = [
            self._shape(line.split(), size, f"Line {number} of '{text}'")
            for number, line in enumerate(lines.splitlines(), start=1)
            if line.strip()
        ]
        return LabelledImage(str(item), *paint(shapes, size, self._stuff))

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


def _class_names(names: Any, path: Path) -> dict[int, str]:
    names = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(names, dict) or not names:
        raise UserError(f"'{path}' has no 'names': list the classes.")
    for number in names:
        if not str(number).isdecimal():
            raise UserError(f"'names' of '{path}' has the number {number!r}: count from 0.")
    return {int(number): str(name) for number, name in names.items()}
