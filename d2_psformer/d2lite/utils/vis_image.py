"""A picture to draw masks, boxes and labels on."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

Color = str | Sequence[float] | np.ndarray
"""A name or "#rrggbb", or red, green and blue from 0 to 1."""


def to_rgb(color: Color) -> np.ndarray:
    """Float array (3,) from 0 to 1."""
    if isinstance(color, str):
        return np.array(ImageColor.getrgb(color)[:3]) / 255
    return np.asarray(color, dtype=float)


_font = functools.cache(ImageFont.load_default)


class _Label(NamedTuple):
    text: str
    x: float  # Middle of the label if centred, else its left end; picture pixels.
    y: float  # Middle if centred, else the upper end.
    centred: bool
    color: np.ndarray
    pixels: int  # Size of the font.


class VisImage:
    """The picture. Labels are drawn at the end, over everything else and beside each other.

    Args:
        img: RGB array (H,W,3), 0 to 255.
        scale: size of the picture relative to ``img``; coordinates and masks stay those of ``img``.
    """

    def __init__(self, img: np.ndarray, scale: float = 1.0):
        self.scale = scale
        self.height, self.width = img.shape[:2]
        self._size = max(1, round(self.width * scale)), max(1, round(self.height * scale))
        self._line_width = max(1, round(scale * np.sqrt(self.height * self.width) / 600))
        self._labels: list[_Label] = []
        self.reset_image(img)

    def reset_image(self, img: np.ndarray) -> None:
        """Replace the pixels and the drawing, except labels."""
        picture = Image.fromarray(img.astype(np.uint8))
        if picture.size != self._size:
            picture = picture.resize(self._size, Image.Resampling.BILINEAR)
        self._pixels = np.array(picture, dtype=np.float32)

    def draw_mask(self, mask: np.ndarray, color: Color, alpha: float, edge: Color) -> None:
        """Fill a bool mask (H,W), with an opaque edge inside."""
        scaled = cv2.resize(mask.astype(np.uint8), self._size, interpolation=cv2.INTER_NEAREST)
        self._blend(scaled, color, alpha)
        inside = cv2.erode(scaled, np.ones((3, 3)), iterations=self._line_width)
        self._blend(scaled - inside, edge, 1.0)

    def draw_box(self, box: Sequence[float], color: Color, alpha: float) -> None:
        """Outline a box in absolute XYXY."""
        line = np.zeros(self._size[::-1], dtype=np.uint8)
        x0, y0, x1, y1 = (round(float(value) * self.scale) for value in box)
        cv2.rectangle(line, (x0, y0), (x1, y1), 1, thickness=2 * self._line_width)
        self._blend(line, color, alpha)

    def draw_text(
        self,
        text: str,
        position: Sequence[float],
        color: Color,
        points: float,
        centred: bool = True,
    ) -> None:
        """Put a label with its middle, or its upper left corner, on ``position``, or above or
        below it where another label is."""
        x, y = (float(value) * self.scale for value in position)
        pixels = max(8, round(points * self.scale * 100 / 72))  # As printed at 100 dpi.
        self._labels.append(_Label(text, x, y, centred, 0.4 * to_rgb(color) + 0.6, pixels))

    def get_image(self) -> np.ndarray:
        """The picture so far as RGB uint8 (scaled H, scaled W, 3)."""
        picture = Image.fromarray(self._pixels.round().astype(np.uint8))
        draw = ImageDraw.Draw(picture, "RGBA")
        taken: list[tuple[float, ...]] = []
        for label in reversed(self._labels):  # The last ones belong to the smallest objects.
            self._draw_label(draw, label, taken)
        return np.array(picture)

    def save(self, filepath: str) -> None:
        """Write the picture to a file; its extension says in which format."""
        Image.fromarray(self.get_image()).save(filepath)

    def _blend(self, mask: np.ndarray, color: Color, alpha: float) -> None:
        x, y, width, height = cv2.boundingRect(mask)
        window = np.s_[y : y + height, x : x + width]
        part, covered = self._pixels[window], mask[window] > 0
        part[covered] = (1 - alpha) * part[covered] + alpha * 255 * to_rgb(color)

    def _draw_label(self, draw: ImageDraw.ImageDraw, label: _Label, taken: list) -> None:
        font = _font(label.pixels)
        pad = max(1, label.pixels // 6)
        width = font.getlength(label.text) + 2 * pad
        height = sum(font.getmetrics()) + pad
        x, y = label.x, label.y
        if label.centred:
            x, y = x - width / 2, y - height / 2
        x = float(np.clip(x, 0, max(self._size[0] - width, 0)))
        for step in (0, 1, -1, 2, -2, 3, -3, 0):  # The last resort is to cover another label.
            top = float(np.clip(y + step * height, 0, max(self._size[1] - height, 0)))
            box = (x, top, x + width, top + height)
            if not any(_overlap(box, other) for other in taken):
                break
        taken.append(box)
        draw.rounded_rectangle(box, radius=pad, fill=(0, 0, 0, 190))
        fill = tuple((label.color * 255).astype(int).tolist())
        draw.text((x + pad, top + pad / 2), label.text, font=font, fill=fill)


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
