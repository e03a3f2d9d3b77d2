"""Panoptic results of images as files: a picture, segment ids, and JSON of the segments."""

from pathlib import Path
from typing import Any

import numpy as np

from ..classes import Classes
from ..data.described_segments import describe_segments
from ..data.panoptic_png import write_panoptic_png
from ..utils.files import write_json, write_picture
from .overlays import Segments, draw_overlay
from .side_by_side import draw_side_by_side


class ResultWriter:
    """Writes ``NAME_overlay.jpg``, ``NAME_ids.png`` and ``NAME_segments.json`` for every image.

    :meth:`write_summary` adds ``panoptic.json``: all of them in the COCO-panoptic format, with the
    data set's category ids.

    Args:
        folder: made if it does not exist.
        metadata: of the model's classes.
        side_by_side: also write ``NAME_side_by_side.jpg``, see :func:`draw_side_by_side`.
    """

    def __init__(self, folder: Path, metadata, *, side_by_side: bool = False):
        self.folder = folder
        self.metadata = metadata
        self._side_by_side = side_by_side
        self._classes = Classes.from_metadata(metadata)
        self._images: list[dict] = []
        self._annotations: list[dict] = []

    def write(
        self,
        name: str,
        source: str,
        image: np.ndarray,
        ids: np.ndarray,
        segments_info: Segments,
        truth: tuple[np.ndarray, Segments] | None = None,
    ) -> np.ndarray:
        """Write the files of one image.

        Args:
            name: begins the names of the files.
            source: path of the image, for the JSON.
            image: uint8 (H, W, 3), RGB.
            ids: integers (H, W), 0 = void.
            segments_info: as the model returns it.
            truth: ids and segments_info of the ground truth, for the picture side by side.

        Returns:
            The overlay, uint8 (H', W', 3).
        """
        overlay = draw_overlay(image, ids, segments_info, self.metadata, legend=True)
        height, width = ids.shape
        files = {"overlay": f"{name}_overlay.jpg", "ids": f"{name}_ids.png"}
        segments = self.describe(ids, segments_info)
        write_picture(self.folder / files["overlay"], overlay)
        if self._side_by_side:
            files["side_by_side"] = f"{name}_side_by_side.jpg"
            row = draw_side_by_side(image, (ids, segments_info), self.metadata, truth)
            write_picture(self.folder / files["side_by_side"], row)
        write_panoptic_png(self.folder / files["ids"], ids)
        write_json(
            self.folder / f"{name}_segments.json",
            {"image": source, "height": height, "width": width, **files, "segments_info": segments},
        )
        self._images.append({"id": name, "file_name": source, "height": height, "width": width})
        self._annotations.append(
            {"image_id": name, "file_name": files["ids"], "segments_info": segments}
        )
        return overlay

    def describe(self, ids: np.ndarray, segments_info: Segments) -> list[dict[str, Any]]:
        """Entries of JSON, see :meth:`.Segment.to_json`."""
        return [s.to_json() for s in describe_segments(ids, segments_info, self._classes)]

    def write_summary(self) -> None:
        """Write ``panoptic.json``."""
        write_json(
            self.folder / "panoptic.json",
            {
                "images": self._images,
                "annotations": self._annotations,
                "categories": self._classes.categories(),
            },
        )
