"""Annotations in the COCO-panoptic layout: one JSON, one PNG of segment ids for each image."""

import functools
import os

import numpy as np

from ..data.files import FolderIndex
from ..data.panoptic_json import check_categories, read_panoptic_json
from ..data.panoptic_png import read_panoptic_png
from ..utils.errors import UserError


class PanopticFiles:
    """Reads a COCO-panoptic JSON and, image by image, the PNGs that belong to it.

    Args:
        json_file: path of the JSON.
        png_folder: folder of the PNGs; by default the JSON's path without ``.json``.

    Attributes:
        num_annotations: how many there are, all of those of an image that has several.
        annotations: image id as a string -> annotation dict, the last one of an image that has
            several.

    Raises:
        FileNotFoundError: the JSON or the folder is missing.
        ValueError: the JSON is of another format or has no ``annotations``.
    """

    def __init__(self, json_file: str, png_folder: str | None = None):
        self.json_file = json_file
        content = read_panoptic_json(json_file)
        if "annotations" not in content:
            raise UserError(
                f"'{json_file}' has no 'annotations': give a JSON in the COCO-panoptic format."
            )
        self._categories = content.get("categories")
        self.num_annotations = len(content["annotations"])
        # Loaders differ in keeping image ids as numbers or strings.
        self._by_image: dict[str, list[dict]] = {}
        for annotation in content["annotations"]:
            self._by_image.setdefault(str(annotation["image_id"]), []).append(annotation)
        self.annotations = {image_id: listed[-1] for image_id, listed in self._by_image.items()}
        self._maps = FolderIndex(png_folder or os.path.splitext(json_file)[0])

    @functools.cached_property
    def categories(self) -> list[dict]:
        """The JSON's categories.

        Raises:
            ValueError: it has none, as predictions may, or they are of another format.
        """
        check_categories(self._categories, f"'{self.json_file}'")
        return self._categories

    def read(self, image_id: int | str) -> tuple[np.ndarray, list[dict]]:
        """The map of segment ids, int32 (H, W), and the ``segments_info`` of one image.

        Of an image with several annotations it is the last, as panopticapi has it of predictions.

        Raises:
            ValueError: the image has no annotation, or its PNG cannot be read.
            FileNotFoundError: its PNG is missing.
        """
        return self._read(self._listed(image_id)[-1])

    def read_all(self, image_id: int | str) -> list[tuple[np.ndarray, list[dict]]]:
        """What :meth:`read` returns, for every annotation of one image in the JSON's order."""
        return [self._read(annotation) for annotation in self._listed(image_id)]

    def _listed(self, image_id: int | str) -> list[dict]:
        if str(image_id) not in self._by_image:
            raise UserError(
                f"Image {image_id} has no annotation in '{self.json_file}': evaluate on the data "
                "set that this file describes."
            )
        return self._by_image[str(image_id)]

    def _read(self, annotation: dict) -> tuple[np.ndarray, list[dict]]:
        path = self._maps.find(annotation["file_name"], (".png",))
        if path is None:
            raise UserError(
                f"The PNG '{annotation['file_name']}' of image {annotation['image_id']} in "
                f"'{self.json_file}' is not in '{self._maps.folder}': name the folder that holds "
                "it."
            )
        return read_panoptic_png(path), annotation["segments_info"]
