"""Colours, outlines and headings of the pictures of attention."""

import cv2
import numpy as np

from .attention import SegmentAttention

_GROUND = 0.5  # of the darkness of the image below


def pale(image: np.ndarray) -> np.ndarray:
    """The image as a light ground, float32: on paper colours and outlines stand out from it."""
    return 255 - _GROUND * (255 - image.astype(np.float32))


def colours(values: np.ndarray) -> np.ndarray:
    """Values (…) from 0 to 1 -> uint8 (…, 3), RGB, pale to dark: they print, in grey too."""
    levels = np.clip(255 - 205 * values + 0.5, 50, 255).astype(np.uint8)  # black is for outlines
    table = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_MAGMA)
    return table[:, 0, ::-1][levels]


def outline(mask: np.ndarray, size: tuple[int, int]) -> list[np.ndarray]:
    """Contours of a bool (H, W) mask on a picture of ``size``, width before height."""
    resized = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    found, _ = cv2.findContours(resized, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    return list(found)


def draw_outline(picture: np.ndarray, contours: list[np.ndarray]) -> None:
    """Draw contours in black inside white, in place: one of them shows on any ground."""
    cv2.drawContours(picture, contours, -1, (255, 255, 255), 3, cv2.LINE_AA)
    cv2.drawContours(picture, contours, -1, (0, 0, 0), 1, cv2.LINE_AA)


def heading(attention: SegmentAttention, name: str) -> str:
    """Name, score and numbers of the segment, e.g. "disc 0.93 (segment 3, query 17)"."""
    segment = attention.segment
    return f"{name} {segment['score']:.2f} (segment {segment['id']}, query {segment['query']})"
