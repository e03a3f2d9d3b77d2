"""An image beside its ground truth and what a model finds in it."""

import numpy as np

from ..classes import Classes
from .legend import draw_legend
from .overlays import Segments, VideoOverlays, resize_pair
from .sheets import draw_sheet


def draw_side_by_side(
    image: np.ndarray,
    predicted: tuple[np.ndarray, Segments],
    metadata,
    truth: tuple[np.ndarray, Segments] | None = None,
    *,
    long_side: int = 800,
) -> np.ndarray:
    """Image, ground truth if it is given, and prediction in a row, with a legend below.

    A thing has the same colour in truth and prediction where both overlap.

    Args:
        image, metadata: see :func:`draw_overlay`.
        predicted, truth: segment ids (H, W) and segments_info.
        long_side: of each picture, pixels.

    Returns:
        uint8 (H', W', 3), RGB.
    """
    overlays = VideoOverlays(metadata, long_side=long_side)
    drawn = {"ground truth": truth, "prediction": predicted}
    shown = {name: segments for name, segments in drawn.items() if segments is not None}
    pictures = [resize_pair(image, predicted[0], long_side)[0]]
    pictures += [overlays.draw(image, *segments) for segments in shown.values()]
    row = draw_sheet(pictures, ["image", *shown], columns=len(pictures))
    every = [segment for _, segments_info in shown.values() for segment in segments_info]
    return draw_legend(row, Classes.from_metadata(metadata), every, max(12, long_side // 32))
