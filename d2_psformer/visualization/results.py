"""Panoptic results of images as files: a picture, segment ids, and JSON of the segments."""

from pathlib import Path
from typing import Any

import numpy as np

from ..classes import Classes
from ..data.panoptic_png import write_panoptic_png
from ..data.segments import label_segments, segment_areas, segment_boxes
from ..utils.files import write_json, write_picture
from .overlays import Segments, draw_overlay


class ResultWriter:
    """Writes ``NAME_overlay.jpg``, ``NAME_ids.png`` and ``NAME_segments.json`` for every image.

    :meth:`write_summary` adds ``panoptic.json``: all of them in the COCO-panoptic format, with the
    data set's category ids.

    Args:
        folder: made if it does not exist.
        metadata: of the model's classes.
    """

    def __init__(self, folder: Path, metadata):
        self.folder = folder
        self.metadata = metadata
        self._classes = Classes.from_metadata(metadata)
        self._images: list[dict] = []
        self._annotations: list[dict] = []

    def write(
        self, name: str, source: str, image: np.ndarray, ids: np.ndarray, segments_info: Segments
    ) -> np.ndarray:
        """Write the files of one image.

        Args:
            name: begins the names of the files.
            source: path of the image, for the JSON.
            image: uint8 (H, W, 3), RGB.
            ids: integers (H, W), 0 = void.
            segments_info: as the model returns it.

        Returns:
            The overlay, uint8 (H', W', 3).
        """
        overlay = draw_overlay(image, ids, segments_info, self.metadata, legend=True)
        height, width = ids.shape
        files = {"overlay": f"{name}_overlay.jpg", "ids": f"{name}_ids.png"}
        segments = self.describe(ids, segments_info)
        write_picture(self.folder / files["overlay"], overlay)
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
        """Entries of JSON: id, category_id (the data set's), category, isthing, score (if it has
        one), area in pixels, bbox as x, y, width, height."""
        labels = label_segments(ids, [segment["id"] for segment in segments_info])
        areas = segment_areas(labels, len(segments_info)).tolist()
        boxes = segment_boxes(labels, len(segments_info)).tolist()
        return [
            {
                "id": int(segment["id"]),
                "category_id": self._classes.category_ids[segment["category_id"]],
                "category": self._classes.names[segment["category_id"]],
                "isthing": bool(segment["isthing"]),
                **_score(segment),
                "area": area,
                "bbox": [x0, y0, x1 - x0, y1 - y0],
            }
            for segment, area, (x0, y0, x1, y1) in zip(segments_info, areas, boxes, strict=True)
        ]

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


def _score(segment: dict[str, Any]) -> dict[str, float]:
    return {"score": round(float(segment["score"]), 4)} if "score" in segment else {}
