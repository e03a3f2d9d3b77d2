"""Panoptic segments drawn over their image."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw

from ..classes import Classes
from ..data.segments import label_segments
from .colors import SegmentColors
from .fonts import font_for
from .labels import place_labels
from .legend import draw_legend

# Labels have a least height, and would cover the segments of smaller pictures.
LEAST_SIDE = 640
_ALPHA = 0.5
_LEAST_LETTERS = 12  # height in pixels, which grows with the picture
_GROUND, _INK = (15, 15, 15, 215), (255, 255, 255)

Segments = Sequence[dict[str, Any]]


def draw_overlay(
    image: np.ndarray,
    ids: np.ndarray,
    segments_info: Segments,
    metadata,
    *,
    long_side: int | None = None,
    legend: bool = False,
) -> np.ndarray:
    """Draw segments with class names and, if they have them, scores in percent.

    Args:
        image: uint8 (H, W, 3), RGB.
        ids: integers (H, W), segment ids; those not listed are void.
        segments_info: ``id``, ``category_id`` (contiguous), ``isthing``, perhaps ``score`` and
            ``iscrowd``.
        metadata: names and colours of the classes.
        long_side: of the picture, pixels; by default the image's, but at least LEAST_SIDE.
        legend: add the names and colours of the classes below the picture.

    Returns:
        uint8 (H', W', 3), RGB.
    """
    overlays = VideoOverlays(metadata, long_side=long_side, legend=legend)
    return overlays.draw(image, ids, segments_info)


class VideoOverlays:
    """Draws pictures of one scene: frames of a video, or ground truth and prediction.

    Things keep their colours as long as they are recognised. See :func:`draw_overlay`.
    """

    def __init__(self, metadata, *, long_side: int | None = None, legend: bool = False):
        self._classes = Classes.from_metadata(metadata)
        self._colors = SegmentColors(self._classes)
        self._long_side = long_side
        self._legend = legend

    def draw(self, image: np.ndarray, ids: np.ndarray, segments_info: Segments) -> np.ndarray:
        """The next picture: arguments and result of :func:`draw_overlay`."""
        image, ids = resize_pair(image, ids, self._long_side)
        labels = label_segments(ids, [segment["id"] for segment in segments_info])
        colors = self._colors(labels, segments_info)
        texts = [self._text(segment) for segment in segments_info]
        picture = _write_texts(_blend(image, labels, colors), labels, texts, colors)
        if self._legend:
            picture = draw_legend(picture, self._classes, segments_info)
        return picture

    def _text(self, segment: dict[str, Any]) -> str:
        score = segment.get("score")
        percent = "" if score is None else f" {score:.0%}"
        return self._classes.names[segment["category_id"]] + (
            " (crowd)" if segment.get("iscrowd") else percent
        )


def letter_height(picture: np.ndarray) -> int:
    """Height in pixels of text that is legible on a picture of this size."""
    return max(_LEAST_LETTERS, round((picture.shape[0] * picture.shape[1]) ** 0.5 / 42))


def resize_pair(
    image: np.ndarray, ids: np.ndarray, long_side: int | None
) -> tuple[np.ndarray, np.ndarray]:
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
    return image, np.ascontiguousarray(ids)


def _blend(image: np.ndarray, labels: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """The image with its segments in colour and light lines between them; void stays."""
    table = np.concatenate([np.zeros((1, 3)), colors]).astype(np.float32)
    alpha = np.full(len(table), _ALPHA, np.float32)
    alpha[0] = 0
    opacity = alpha[labels][..., None]
    mixed = image * (1 - opacity) + table[labels] * opacity
    border = np.zeros(labels.shape, np.uint8)
    border[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    border[1:] |= labels[1:] != labels[:-1]
    thickness = max(1, round(max(labels.shape) / 700))
    border = cv2.dilate(border, np.ones((thickness, thickness), np.uint8))[..., None]
    return np.where(border, 0.2 * mixed + 0.8 * 255, mixed).round().astype(np.uint8)


def _write_texts(
    picture: np.ndarray, labels: np.ndarray, texts: Sequence[str], colors: np.ndarray
) -> np.ndarray:
    """Write one text a segment, where there is room; a bar has the segment's colour."""
    height = letter_height(picture)
    margin = height // 4
    fonts = [font_for(text, height) for text in texts]
    sizes = [
        (round(font.getlength(text)) + 4 * margin, height + 2 * margin)
        for font, text in zip(fonts, texts, strict=True)
    ]
    drawn = Image.fromarray(picture)
    draw = ImageDraw.Draw(drawn, "RGBA")  # grounds of labels are transparent
    places = place_labels(labels, sizes)
    for text, font, color, box in zip(texts, fonts, colors.tolist(), places, strict=True):
        if box is not None:
            left, top, right, bottom = box
            draw.rectangle((left, top, right - 1, bottom - 1), _GROUND)
            draw.rectangle((left, top, left + margin, bottom - 1), tuple(color))
            draw.text((left + 2.5 * margin, (top + bottom) // 2), text, _INK, font, anchor="lm")
    return np.asarray(drawn)
