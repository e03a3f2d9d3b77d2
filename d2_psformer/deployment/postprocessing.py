"""Outputs of the network for one image -> its panoptic and semantic results."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .interpolation import resize
from .masks import Masks, Placement
from .merging import MERGINGS, Merged, class_scores, one_segment_per_stuff, recount


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
class Postprocessor:
    """
    Attributes:
        settings: of the file, see :class:`.Model`.
    """

    settings: dict[str, Any]

    def panoptic(self, outputs: dict[str, np.ndarray], placement: Placement) -> tuple:
        """Id map (H, W) int32, 0 = void, and its segments, as lists of dicts.

        Args:
            outputs: of one image: "masks" (N, h, w) with "probabilities" (N, K + 1), whose last
                column is "no object", or with "scores" (N,) and "classes" (N,).
        """
        rule = self.settings["merging"]
        on_canvas = rule["name"] == "max_deeplab"
        found = self._found(outputs, placement.whole_canvas if on_canvas else placement)
        if "probabilities" in outputs and not on_canvas:
            probabilities = outputs["probabilities"]
            found = found.select(probabilities.argmax(1) < probabilities.shape[1] - 1)
        merged = MERGINGS[rule["name"]](found.masks, found.scores, found.is_thing, rule)
        ids, segments = one_segment_per_stuff(*merged, found.classes, found.is_thing)
        if on_canvas:
            ids, segments = self._placed(ids, segments, found, placement)
        return ids, self._described(ids, segments, found)

    def semantic(self, outputs: dict[str, np.ndarray], placement: Placement) -> np.ndarray:
        """Scores of classes, or logits of a model of pixels: float32 (K, H, W)."""
        if "pixel_logits" in outputs:
            logits, stride = outputs["pixel_logits"], placement.stride
            height, width = logits.shape[1:]
            return placement.cut(resize(logits, (height * stride, width * stride)))
        rule = self.settings["merging"]
        if "probabilities" in outputs and rule["name"] != "max_deeplab":
            return self._summed(outputs, placement)
        found = self._found(outputs, placement)
        scores = np.ones_like(found.scores)  # a mask is the whole score of MaX-DeepLab's queries
        if "scores" in outputs:
            scores = class_scores(found.masks, found.scores, rule)
        best = np.zeros((len(self.settings["categories"]), *placement.output), np.float32)
        for index, score in enumerate(scores):
            of_class = best[found.classes[index]]
            np.maximum(of_class, score * np.minimum(found.masks[index], 1), out=of_class)
        return best

    def _found(self, outputs: dict[str, np.ndarray], placement: Placement) -> Found:
        masks = Masks(outputs["masks"], placement, self.settings["mask_kind"])
        if "probabilities" in outputs:
            scores = outputs["probabilities"][:, :-1].max(1)
            classes = outputs["probabilities"][:, :-1].argmax(1)
        else:
            scores, classes = outputs["scores"], outputs["classes"]
        things = np.array([c["isthing"] for c in self.settings["categories"]], bool)
        return Found(masks, scores, classes, things[classes])

    def _summed(self, outputs: dict[str, np.ndarray], placement: Placement) -> np.ndarray:
        """The sum over queries of class probability * mask (MaskFormer).

        A model without other results sums up on the canvas, as the official code does.
        """
        alone = not self.settings["panoptic"]
        at = placement.whole_canvas if alone else placement
        masks = Masks(outputs["masks"], at, self.settings["mask_kind"])
        by_class = outputs["probabilities"][:, :-1].T
        summed = np.zeros((len(by_class), *at.output), np.float32)
        for index in range(len(masks)):
            summed += by_class[:, index, None, None] * masks[index]
        if not alone:
            return summed
        return placement.cut(summed)

    def _placed(
        self, ids: np.ndarray, segments: list, found: Found, placement: Placement
    ) -> Merged:
        """Segments of the canvas in the output's pixels, without those that are too small."""
        rule = self.settings["merging"]
        limits = rule["stuff_area_limit"], rule["thing_area_limit"]
        smallest = [limits[int(found.is_thing[s.index])] for s in segments]
        ids, segments = recount(ids, segments, smallest)
        return recount(placement.cut(ids), segments, [1] * len(segments))

    def _described(self, ids: np.ndarray, segments: list, found: Found) -> list[dict[str, Any]]:
        described = []
        for number, segment in enumerate(segments, 1):
            index = int(found.classes[segment.index])
            category = self.settings["categories"][index]
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
