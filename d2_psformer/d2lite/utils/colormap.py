"""A palette of colours that are easy to tell apart."""

import colorsys

import numpy as np

_SIZE = 72
_GOLDEN_RATIO = 0.618034  # Hues one such step apart never come close to recent ones.
_SATURATION_AND_VALUE = ((0.85, 0.95), (0.60, 1.00), (0.95, 0.70))


def colormap(rgb: bool = False, maximum: int = 255) -> np.ndarray:
    """Palette as float32 (72,3), from 0 to ``maximum`` (255 or 1), in RGB or BGR order."""
    assert maximum in (255, 1), f"Colours end at 255 or at 1, not at {maximum}."
    colors = [
        colorsys.hsv_to_rgb(i * _GOLDEN_RATIO % 1, *_SATURATION_AND_VALUE[i % 3])
        for i in range(_SIZE)
    ]
    palette = np.array(colors, dtype=np.float32) * maximum
    return palette if rgb else palette[:, ::-1]
