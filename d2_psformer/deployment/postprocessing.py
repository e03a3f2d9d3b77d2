"""Outputs of the network for one image -> its panoptic and semantic results."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .interpolation import resize
from .masks import Masks, Placement
from .merging import MERGINGS, Merged, Segment, class_scores, one_segment_per_stuff, recount

Settings = dict[str, Any]
Outputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Found:
    """Masks of one class each.

    Attributes:
        masks: N of them.
        scores: (N,) class probabilities.
        classes: (N,) contiguous class ids.
        is_thing: (N,) bool.
    """

    masks: Masks
    scores: np.ndarray
    classes: np.ndarray
    is_thing: np.ndarray

    def select(self, kept: np.ndarray) -> "Found":
        masks = Masks(self.masks.values[kept], self.masks.placement, self.masks.kind)
        return Found(masks, self.scores[kept], self.classes[kept], self.is_thing[kept])


@dataclass(frozen=True)
class Result:
    """
    Attributes:
        panoptic: id map (H, W) int32, 0 = void; None if the model gives none.
        segments: of the ids: id, class_name, category_id (the data set's), class_index, isthing,
            score, area and box (x0, y0, x1, y1, the last two exclusive) in pixels.
        semantic: class scores (K, H, W) float32, or logits of a model of pixels; None likewise.
    """

    panoptic: np.ndarray | None
    segments: list[dict[str, Any]]
    semantic: np.ndarray | None

    def classes(self) -> np.ndarray:
        """The class index of every pixel, int64 (H, W); -1 = void."""
        if self.panoptic is None:
            return self.semantic.argmax(0)
        return np.array([-1, *(s["class_index"] for s in self.segments)])[self.panoptic]


def postprocess(settings: Settings, outputs: Outputs, placement: Placement) -> Result:
    """The results that the model makes of one image.

    Args:
        settings: of the file, see :class:`.Model`.
        outputs: of the network for the image: "masks" (N, h, w) with "probabilities" (N, K + 1),
            whose last column is "no object", or with "scores" (N,) and "classes" (N,); or
            "pixel_logits" (K, h, w).
    """
    ids, segments = panoptic(settings, outputs, placement) if settings["panoptic"] else (None, [])
    scores = semantic(settings, outputs, placement) if settings["semantic"] else None
    return Result(ids, segments, scores)


def panoptic(
    settings: Settings, outputs: Outputs, placement: Placement
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Id map (H, W) int32, 0 = void, and its segments."""
    rule = settings["merging"]
    on_canvas = rule["name"] == "max_deeplab"
    found = _found(settings, outputs, placement.whole_canvas if on_canvas else placement)
    if "probabilities" in outputs and not on_canvas:
        probabilities = outputs["probabilities"]
        found = found.select(probabilities.argmax(1) < probabilities.shape[1] - 1)
    merged = MERGINGS[rule["name"]](found.masks, found.scores, found.is_thing, rule)
    ids, segments = one_segment_per_stuff(*merged, found.classes, found.is_thing)
    if on_canvas:
        ids, segments = _placed(rule, ids, segments, found, placement)
    return ids, _described(settings["categories"], ids, segments, found)


def semantic(settings: Settings, outputs: Outputs, placement: Placement) -> np.ndarray:
    """Scores of classes, or logits of a model of pixels: float32 (K, H, W)."""
    if "pixel_logits" in outputs:
        logits, stride = outputs["pixel_logits"], placement.stride
        height, width = logits.shape[1:]
        return placement.cut(resize(logits, (height * stride, width * stride)))
    rule = settings["merging"]
    if "probabilities" in outputs and rule["name"] != "max_deeplab":
        return _summed(settings, outputs, placement)
    found = _found(settings, outputs, placement)
    scores = np.ones_like(found.scores)  # a mask is the whole score of MaX-DeepLab's queries
    if "scores" in outputs:
        scores = class_scores(found.masks, found.scores, rule)
    best = np.zeros((len(settings["categories"]), *placement.output), np.float32)
    for index, score in enumerate(scores):
        of_class = best[found.classes[index]]
        np.maximum(of_class, score * np.minimum(found.masks[index], 1), out=of_class)
    return best


def _found(settings: Settings, outputs: Outputs, placement: Placement) -> Found:
    masks = Masks(outputs["masks"], placement, settings["mask_kind"])
    if "probabilities" in outputs:
        scores = outputs["probabilities"][:, :-1].max(1)
        classes = outputs["probabilities"][:, :-1].argmax(1)
    else:
        scores, classes = outputs["scores"], outputs["classes"]
    things = np.array([c["isthing"] for c in settings["categories"]], bool)
    return Found(masks, scores, classes, things[classes])


def _summed(settings: Settings, outputs: Outputs, placement: Placement) -> np.ndarray:
    """The sum over queries of class probability * mask (MaskFormer).

    A model without other results sums up on the canvas, as the official code does.
    """
    alone = not settings["panoptic"]
    at = placement.whole_canvas if alone else placement
    masks = Masks(outputs["masks"], at, settings["mask_kind"])
    by_class = outputs["probabilities"][:, :-1].T
    summed = np.zeros((len(by_class), *at.output), np.float32)
    for start in range(0, len(masks), 16):  # few at a time, for the sake of memory
        some = np.stack([masks[i] for i in range(start, min(start + 16, len(masks)))])
        summed += np.tensordot(by_class[:, start : start + 16], some, 1)
    return placement.cut(summed) if alone else summed


def _placed(
    rule: dict, ids: np.ndarray, segments: list[Segment], found: Found, placement: Placement
) -> Merged:
    """Segments of the canvas in the output's pixels, without those that are too small."""
    limits = rule["stuff_area_limit"], rule["thing_area_limit"]
    smallest = [limits[int(found.is_thing[s.index])] for s in segments]
    ids, segments = recount(ids, segments, smallest)
    return recount(placement.cut(ids), segments, [1] * len(segments))


def _described(
    categories: list[dict], ids: np.ndarray, segments: list[Segment], found: Found
) -> list[dict[str, Any]]:
    described = []
    for number, segment in enumerate(segments, 1):
        index = int(found.classes[segment.index])
        category = categories[index]
        described.append(
            {
                "id": number,
                "class_name": category["name"],
                "category_id": category["id"],
                "class_index": index,
                "isthing": bool(category["isthing"]),
                "score": segment.score,
                "area": segment.area,
                "box": _box(ids == number),
            }
        )
    return described


def _box(pixels: np.ndarray) -> list[int]:
    """x0, y0, x1, y1, the last two exclusive."""
    y, x = (np.flatnonzero(pixels.any(axis)) for axis in (1, 0))
    return [int(x[0]), int(y[0]), int(x[-1]) + 1, int(y[-1]) + 1]
