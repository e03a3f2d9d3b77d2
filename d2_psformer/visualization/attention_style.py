"""Colours, outlines and headings of the pictures of attention."""

import cv2
import numpy as np

from .attention import SegmentAttention

OUTLINE = (255, 255, 255)


def colours(values: np.ndarray) -> np.ndarray:
    """Values (…) from 0 to 1 -> uint8 (…, 3), RGB, dark to bright."""
    levels = np.clip(255 * values + 0.5, 0, 255).astype(np.uint8)
    table = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_INFERNO)
    return table[:, 0, ::-1][levels]


def outline(mask: np.ndarray, size: tuple[int, int]) -> list[np.ndarray]:
    """Contours of a bool (H, W) mask on a picture of ``size``, width before height."""
    resized = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    found, _ = cv2.findContours(resized, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    return list(found)


def heading(attention: SegmentAttention, name: str) -> str:
    """Name, score and numbers of the segment, e.g. "disc 0.93 (segment 3, query 17)"."""
    segment = attention.segment
    return f"{name} {segment['score']:.2f} (segment {segment['id']}, query {segment['query']})"
