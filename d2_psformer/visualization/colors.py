"""Colours of segments that a viewer recognises from one picture to the next."""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..classes import Classes
from ..data.segments import segment_areas

_LEAST_IOU = 0.25  # of a thing with itself in the next picture
_PICTURES_TO_REMEMBER = 8
# Changes of hue and lightness from the colour of a class to that of its things, one after another.
_SHADES = ((0, 0), (0.04, 0.16), (-0.04, -0.14), (0.08, -0.06), (-0.08, 0.24), (0.0, -0.22))


@dataclass(frozen=True)
class _Thing:
    """A thing in the last picture that showed it."""

    category: int
    shade: int
    area: int
    pictures_ago: int = 0


class SegmentColors:
    """Gives stuff the colour of its class, and things shades of theirs.

    A thing keeps its shade from picture to picture (frames of a video; ground truth and prediction)
    while it overlaps itself; it is remembered for some pictures that do not show it.

    Args:
        classes: their colours.
    """

    def __init__(self, classes: Classes):
        self._colors = classes.colors
        self._things: list[_Thing] = []
        self._map = np.zeros((0, 0), np.int64)  # 0, or the place in _things + 1

    def __call__(self, labels: np.ndarray, segments_info: Sequence[dict[str, Any]]) -> np.ndarray:
        """Colours for the next picture.

        Args:
            labels: (H, W), place in ``segments_info`` + 1; 0 for void.

        Returns:
            uint8 (N, 3), RGB.
        """
        if self._map.shape != labels.shape:  # another image
            self._things, self._map = [], np.zeros(labels.shape, np.int64)
        areas = segment_areas(labels, len(segments_info)).tolist()
        present = [k for k, s in enumerate(segments_info) if s["isthing"] and areas[k]]
        known = self._recognise(labels, segments_info, areas)
        remembered = self._missed(known.values())
        colors = np.array([self._colors[s["category_id"]] for s in segments_info], np.uint8)
        now = []
        for k in present:
            category = segments_info[k]["category_id"]
            if k in known:
                shade = self._things[known[k]].shade
            else:
                others = [*now, *remembered.values(), *(self._things[i] for i in known.values())]
                taken = {thing.shade for thing in others if thing.category == category}
                shade = next(n for n in range(len(taken) + 1) if n not in taken)
            now.append(_Thing(category, shade, areas[k]))
            colors[k] = _shade(colors[k], shade)
        self._remember(labels, present, now, remembered)
        return colors.reshape(-1, 3)

    def _recognise(self, labels, segments_info, areas) -> dict[int, int]:
        """Place of a segment -> place of the thing of the same class that it is."""
        from scipy.optimize import linear_sum_assignment  # takes 0.25 s; videos alone need it

        count = len(segments_info) + 1
        pairs = np.bincount((self._map * count + labels).ravel(), minlength=count)
        overlap = np.zeros((len(self._things) + 1, count))
        overlap.flat[: len(pairs)] = pairs
        iou = np.zeros((len(self._things), len(segments_info)))
        for i, thing in enumerate(self._things):
            for k, segment in enumerate(segments_info):
                if segment["isthing"] and segment["category_id"] == thing.category:
                    both = overlap[i + 1, k + 1]
                    iou[i, k] = both / (thing.area + areas[k] - both)
        old, new = linear_sum_assignment(iou, maximize=True)
        return {
            k: i for i, k in zip(old.tolist(), new.tolist(), strict=True) if iou[i, k] >= _LEAST_IOU
        }

    def _missed(self, seen) -> dict[int, _Thing]:
        """Things, by their places, that this picture does not show and that are remembered."""
        missed = set(range(len(self._things))) - {*seen}
        aged = {
            i: replace(self._things[i], pictures_ago=self._things[i].pictures_ago + 1)
            for i in sorted(missed)
        }
        return {i: t for i, t in aged.items() if t.pictures_ago <= _PICTURES_TO_REMEMBER}

    def _remember(self, labels, present, now, remembered) -> None:
        """Renumber what is remembered behind the things of this picture, which lie on top."""
        place_now = np.zeros(max(present, default=0) + 2 + labels.max(initial=0), np.int64)
        place_now[np.array(present, int) + 1] = np.arange(len(now)) + 1
        place_old = np.zeros(len(self._things) + 1, np.int64)
        place_old[np.array([*remembered], int) + 1] = len(now) + np.arange(len(remembered)) + 1
        on_top = place_now[labels]
        self._map = np.where(on_top > 0, on_top, place_old[self._map])
        self._things = [*now, *remembered.values()]


def _shade(color: Sequence[int], number: int) -> list[int]:
    """The shade of a colour with this number; the first is the colour itself."""
    hue, lightness, saturation = colorsys.rgb_to_hls(*np.divide(color, 255))
    turn, change = _SHADES[number % len(_SHADES)]
    lightness = min(0.85, max(0.2, lightness + change)) if change else lightness
    return [round(255 * v) for v in colorsys.hls_to_rgb((hue + turn) % 1, lightness, saturation)]
