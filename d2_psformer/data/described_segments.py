"""The segments of an image as a user reads them: with class names and the data set's ids."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..classes import Classes
from .segments import label_segments, segment_areas, segment_boxes


@dataclass(frozen=True)
class Segment:
    """A segment of an image.

    Attributes:
        id: its value in the id map, at least 1.
        class_name: name of its class.
        category_id: id of its class in the data set.
        class_index: id of its class in the model, 0...K-1 without gaps.
        is_thing: false for stuff, which has no instances.
        score: the model's confidence, 0 to 1; None where it has none (semantic results).
        area: pixels.
        box: x0, y0, x1, y1 in pixels; right and bottom are exclusive.
    """

    id: int
    class_name: str
    category_id: int | str
    class_index: int
    is_thing: bool
    score: float | None
    area: int
    box: tuple[int, int, int, int]

    def to_json(self) -> dict[str, Any]:
        """id, category_id, class_index, category, isthing, score (if any), area, bbox (x, y, width,
        height)."""
        x0, y0, x1, y1 = self.box
        score = {} if self.score is None else {"score": round(self.score, 4)}
        return {
            "id": self.id,
            "category_id": self.category_id,
            "class_index": self.class_index,
            "category": self.class_name,
            "isthing": self.is_thing,
            **score,
            "area": self.area,
            "bbox": [x0, y0, x1 - x0, y1 - y0],
        }


def describe_segments(
    ids: np.ndarray, segments_info: Sequence[Mapping[str, Any]], classes: Classes
) -> list[Segment]:
    """Name the classes of segments, and measure the segments.

    Args:
        ids: integers (H, W), 0 = void.
        segments_info: Detectron2's: ``id``, ``category_id`` (contiguous), ``isthing``, and perhaps
            ``score``.
    """
    labels = label_segments(ids, [info["id"] for info in segments_info])
    areas = segment_areas(labels, len(segments_info)).tolist()
    boxes = segment_boxes(labels, len(segments_info)).tolist()
    return [
        Segment(
            id=int(info["id"]),
            class_name=classes.names[info["category_id"]],
            category_id=classes.category_ids[info["category_id"]],
            class_index=int(info["category_id"]),
            is_thing=bool(info["isthing"]),
            score=float(info["score"]) if "score" in info else None,
            area=area,
            box=tuple(box),
        )
        for info, area, box in zip(segments_info, areas, boxes, strict=True)
    ]
