"""Resizes whose corners are aligned: the first and the last pixel stay the first and the last."""

import numpy as np


def nearest_places(length: int, new_length: int) -> np.ndarray:
    """Which of ``length`` pixels each of ``new_length`` pixels shows: int64 (new_length,).

    Halves are rounded up, in float32 before that, as in TensorFlow.
    """
    scale = np.float32(length - 1) / np.float32(max(new_length - 1, 1))
    places = np.arange(new_length, dtype=np.float32) * scale
    return np.floor(places.astype(np.float64) + 0.5).astype(np.int64)
