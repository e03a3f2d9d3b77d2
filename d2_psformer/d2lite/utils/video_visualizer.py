"""Pictures of the frames of a video, in which an object keeps its colour."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..structures import Instances
from .colormap import colormap
from .regions import iou
from .visualizer import ColorMode, VisImage, Visualizer

_SAME_OBJECT_IOU = 0.5
_FRAMES_TO_REMEMBER = 8


@dataclass
class _Object:
    """An object as it was last seen."""

    category: int
    region: np.ndarray  # Mask (H,W) or box (4,).
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
        self._num_colors = 0

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

    def draw_instance_predictions(self, frame: np.ndarray, predictions: Instances) -> VisImage:
        """See :meth:`Visualizer.draw_instance_predictions`; ``frame`` is RGB (H,W,3)."""
        return _Frame(frame, self).draw_instance_predictions(predictions)

    def draw_sem_seg(
        self,
        frame: np.ndarray,
        sem_seg: torch.Tensor | np.ndarray,
        area_threshold: int | None = None,
    ) -> VisImage:
        """See :meth:`Visualizer.draw_sem_seg`; ``frame`` is RGB (H,W,3)."""
        return _Frame(frame, self).draw_sem_seg(sem_seg, area_threshold)

    def colors_of(
        self, categories: Sequence[int], regions: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """Colours of the objects of the next frame: those that were seen before keep theirs."""
        same_class = np.equal.outer([old.category for old in self._objects], list(categories))
        overlap = iou([old.region for old in self._objects], regions) * same_class
        found: dict[int, int] = {}  # New object -> old one, best overlap first.
        for pair in np.argsort(-overlap, axis=None):
            old, new = np.unravel_index(pair, overlap.shape)
            if overlap[old, new] < _SAME_OBJECT_IOU:
                break
            if new not in found and old not in found.values():
                found[new] = old
        colors = [
            self._objects[found[new]].color if new in found else self._new_color()
            for new in range(len(categories))
        ]
        missed = [old for i, old in enumerate(self._objects) if i not in found.values()]
        for old in missed:
            old.frames_ago += 1
        self._objects = [old for old in missed if old.frames_ago <= _FRAMES_TO_REMEMBER]
        self._objects += map(_Object, categories, regions, colors)
        return colors

    def _new_color(self) -> np.ndarray:
        palette = colormap(rgb=True, maximum=1)
        self._num_colors += 1
        return palette[(self._num_colors - 1) % len(palette)]


class _Frame(Visualizer):
    """One frame, with the colours of things from the video."""

    def __init__(self, frame: np.ndarray, video: VideoVisualizer):
        super().__init__(frame, video.metadata, instance_mode=video.instance_mode)
        self._video = video

    def _thing_colors(
        self, categories: Sequence[int], regions: Sequence[np.ndarray], by_class: bool = False
    ) -> list[np.ndarray]:
        return self._video.colors_of(categories, regions)
