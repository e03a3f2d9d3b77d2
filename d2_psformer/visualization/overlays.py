"""Panoptic segments drawn over their image."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..d2.utils import VideoVisualizer, Visualizer

# Labels have a fixed size, and would cover the segments of smaller pictures.
LEAST_SIDE = 640
_ALPHA = 0.5

Segments = Sequence[dict[str, Any]]


def draw_overlay(
    image: np.ndarray,
    ids: np.ndarray,
    segments_info: Segments,
    metadata,
    *,
    long_side: int | None = None,
) -> np.ndarray:
    """Draw segments with class names and, if they have them, scores.

    Args:
        image: uint8 (H, W, 3), RGB.
        ids: integers (H, W), segment ids; those not listed are void.
        segments_info: ``id``, ``category_id`` (contiguous), ``isthing``, perhaps ``score`` and
            ``iscrowd``.
        metadata: names and colours of the classes.
        long_side: of the picture, pixels; by default the image's, but at least LEAST_SIDE.

    Returns:
        uint8 (H', W', 3), RGB.
    """
    image, ids = _resized(image, ids, long_side)
    return (
        Visualizer(image, metadata)
        .draw_panoptic_seg(ids, [dict(s) for s in segments_info], area_threshold=0, alpha=_ALPHA)
        .get_image()
    )


class VideoOverlays:
    """Draws the frames of a video; things keep their colours as long as they are recognised."""

    def __init__(self, metadata):
        self._visualizer = VideoVisualizer(metadata)

    def draw(self, image: np.ndarray, ids: np.ndarray, segments_info: Segments) -> np.ndarray:
        """See :func:`draw_overlay`."""
        image, ids = _resized(image, ids, None)
        return self._visualizer.draw_panoptic_seg_predictions(
            image, ids, [dict(s) for s in segments_info], area_threshold=0, alpha=_ALPHA
        ).get_image()


def _resized(
    image: np.ndarray, ids: np.ndarray, long_side: int | None
) -> tuple[np.ndarray, torch.Tensor]:
    """Image and ids, resized to the long side."""
    height, width = image.shape[:2]
    factor = (long_side or max(height, width, LEAST_SIDE)) / max(height, width)
    if factor != 1:
        height, width = (max(1, round(side * factor)) for side in (height, width))
        rows, columns = (
            np.arange(new) * old // new for new, old in zip((height, width), ids.shape, strict=True)
        )
        ids = ids[rows[:, None], columns]
        image = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))
    return image, torch.as_tensor(np.ascontiguousarray(ids, np.int32))
