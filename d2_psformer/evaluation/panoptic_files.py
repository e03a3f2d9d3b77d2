"""Annotations in the COCO-panoptic layout: one JSON, one PNG of segment ids for each image."""

import os

import numpy as np

from ..data.files import FolderIndex, read_json
from ..data.panoptic_png import read_panoptic_png


class PanopticFiles:
    """Reads a COCO-panoptic JSON and, image by image, the PNGs that belong to it.

    Args:
        json_file: path of the JSON.
        png_folder: folder of the PNGs; by default the JSON's path without ``.json``.

    Attributes:
        categories: the JSON's list of category dicts; predictions may have none.
        annotations: image id as a string -> annotation dict, in the JSON's order.

    Raises:
        FileNotFoundError: the JSON or the folder is missing.
        ValueError: the file is no JSON or has no ``annotations``.
    """

    def __init__(self, json_file: str, png_folder: str | None = None):
        self.json_file = json_file
        content = read_json(json_file)
        if not isinstance(content, dict) or "annotations" not in content:
            raise ValueError(
                f"'{json_file}' has no 'annotations': give a JSON in the COCO-panoptic format."
            )
        self.categories = content.get("categories", [])
        # Loaders differ in keeping image ids as numbers or strings.
        self.annotations = {str(a["image_id"]): a for a in content["annotations"]}
        self._maps = FolderIndex(png_folder or os.path.splitext(json_file)[0])

    def read(self, image_id: int | str) -> tuple[np.ndarray, list[dict]]:
        """The map of segment ids, int32 (H, W), and the ``segments_info`` of one image.

        Raises:
            KeyError: the image has no annotation.
            FileNotFoundError, ValueError: its PNG is missing or cannot be read.
        """
        annotation = self.annotations.get(str(image_id))
        if annotation is None:
            raise KeyError(
                f"Image {image_id} has no annotation in '{self.json_file}': evaluate on the data "
                "set that this file describes."
            )
        path = self._maps.find(annotation["file_name"], (".png",))
        if path is None:
            raise FileNotFoundError(
                f"The PNG '{annotation['file_name']}' of image {image_id} in '{self.json_file}' "
                f"is not in '{self._maps.folder}': name the folder that holds it."
            )
        return read_panoptic_png(path), annotation["segments_info"]
