"""Bilinear and nearest resizes in NumPy, with the numbers of PyTorch up to rounding."""

import numpy as np


def stretch(maps: np.ndarray, axis: int, length: int, aligned: bool = False) -> np.ndarray:
    """Interpolate one axis linearly.

    Args:
        maps: float32 of any shape.
        length: of the axis in the result.
        aligned: the first and the last value stay (align_corners of PyTorch); else values stand in
            the middle of cells.
    """
    old = maps.shape[axis]
    if old == length:
        return maps
    if aligned:
        place = np.arange(length, dtype=np.float32) * np.float32((old - 1) / max(length - 1, 1))
    else:
        centre = np.arange(length, dtype=np.float32) + np.float32(0.5)
        place = np.maximum(centre * np.float32(old / length) - np.float32(0.5), 0)
    low = np.minimum(place.astype(np.int64), old - 1)
    high = np.minimum(low + 1, old - 1)
    shape = [1] * maps.ndim
    shape[axis] = length
    share = (place - low).astype(np.float32).reshape(shape)
    return maps.take(low, axis) * (1 - share) + maps.take(high, axis) * share


def resize(maps: np.ndarray, size: tuple[int, int], aligned: bool = False) -> np.ndarray:
    """Interpolate the last two axes to ``size`` (height, width)."""
    return stretch(stretch(maps, maps.ndim - 1, size[1], aligned), maps.ndim - 2, size[0], aligned)


def nearest(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize the last two axes so that every pixel shows the nearest one, corners aligned.

    Halves are rounded up, in float32 before that, as in TensorFlow.
    """
    for axis, length in zip((-2, -1), size, strict=True):
        scale = np.float32(maps.shape[axis] - 1) / np.float32(max(length - 1, 1))
        places = np.arange(length, dtype=np.float32) * scale
        maps = maps.take(np.floor(places.astype(np.float64) + 0.5).astype(np.int64), axis)
    return maps
