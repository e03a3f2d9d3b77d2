"""Pictures of the frames of a video, in which an object keeps its colour."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import torch

from .vis_image import VisImage
from .visualizer import ColorMode, Visualizer, palette_color

_SAME_OBJECT_IOU = 0.5
_FRAMES_TO_REMEMBER = 8


@dataclass
class _Object:
    """An object in the last frame that showed it."""

    category: int
    mask: dict[str, Any]  # RLE
    color: np.ndarray
    frames_ago: int = 1


class VideoVisualizer:
    """Draws frame after frame: an object that overlaps one of its class before keeps its colour.

    Args:
        metadata, instance_mode: as for :class:`Visualizer`.
    """

    def __init__(self, metadata, instance_mode: ColorMode = ColorMode.IMAGE):
        self.metadata = metadata
        self.instance_mode = instance_mode
        self._objects: list[_Object] = []
        self._palette = map(palette_color, itertools.count())

    def draw_panoptic_seg_predictions(
        self,
        frame: np.ndarray,
        panoptic_seg: torch.Tensor | np.ndarray,
        segments_info: list[dict[str, Any]],
        area_threshold: int | None = None,
        alpha: float = 0.5,
    ) -> VisImage:
        """See :meth:`Visualizer.draw_panoptic_seg`; ``frame`` is RGB (H,W,3)."""
        picture = _Frame(frame, self)
        return picture.draw_panoptic_seg(panoptic_seg, segments_info, area_threshold, alpha)

    def colors_of(self, categories: Sequence[int], masks: np.ndarray) -> list[np.ndarray]:
        """Colours of the objects of the next frame: those that were seen before keep theirs.

        Args:
            categories: N class ids.
            masks: bool (N,H,W).
        """
        codes = [mask_util.encode(np.asfortranarray(mask, dtype=np.uint8)) for mask in masks]
        same_class = np.equal.outer([old.category for old in self._objects], list(categories))
        overlap = np.zeros(same_class.shape)
        if overlap.size:
            known = [old.mask for old in self._objects]
            overlap = mask_util.iou(known, codes, [0] * len(codes)) * same_class
        found: dict[int, int] = {}  # New object -> old one, best overlap first.
        for pair in np.argsort(-overlap, axis=None):
            old, new = np.unravel_index(pair, overlap.shape)
            if overlap[old, new] < _SAME_OBJECT_IOU:
                break
            if new not in found and old not in found.values():
                found[new] = old
        colors = [
            self._objects[found[new]].color if new in found else next(self._palette)
            for new in range(len(categories))
        ]
        missed = [old for i, old in enumerate(self._objects) if i not in found.values()]
        for old in missed:
            old.frames_ago += 1
        self._objects = [old for old in missed if old.frames_ago <= _FRAMES_TO_REMEMBER]
        self._objects += map(_Object, categories, codes, colors)
        return colors


class _Frame(Visualizer):
    """One frame, with the colours of things from the video."""

    def __init__(self, frame: np.ndarray, video: VideoVisualizer):
        super().__init__(frame, video.metadata, instance_mode=video.instance_mode)
        self._video = video

    def _thing_colors(self, categories: Sequence[int], masks: np.ndarray) -> list[np.ndarray]:
        return self._video.colors_of(categories, masks)
