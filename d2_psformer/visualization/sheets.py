"""Several pictures with captions on one sheet."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_GAP = 12  # pixels between pictures and around them
_BACKGROUND, _INK = (255, 255, 255), (20, 20, 20)


def thumbnail(picture: np.ndarray, side: int) -> np.ndarray:
    """The picture, uint8 (H, W, 3), made so small that its longest side has ``side`` pixels."""
    small = Image.fromarray(picture)
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    return np.asarray(small)


def draw_sheet(
    pictures: Sequence[np.ndarray],
    captions: Sequence[str],
    *,
    columns: int,
    title: str = "",
) -> np.ndarray:
    """Pictures in rows, each above its caption, under one title.

    Args:
        pictures: uint8 (H, W, 3), RGB, of any sizes; at least one.
        captions: one each; what is too wide is cut and ends in "…".
        columns: pictures in a row, as long as there are enough.

    Returns:
        uint8 (H', W', 3), RGB.
    """
    shown = [Image.fromarray(picture) for picture in pictures]
    columns = min(columns, len(shown))
    width = max(picture.width for picture in shown)
    letters = max(12, width // 32)  # pixels
    small, large = ImageFont.load_default(letters), ImageFont.load_default(1.4 * letters)

    rows = [range(i, min(i + columns, len(shown))) for i in range(0, len(shown), columns)]
    heights = [max(shown[i].height for i in row) + 2 * letters for row in rows]
    y = _GAP + (3 * letters if title else 0)
    size = (_GAP + columns * (width + _GAP), y + sum(heights) + _GAP * (len(rows) - 1))
    sheet = Image.new("RGB", size, _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, _GAP), _fitted(title, large, sheet.width - 2 * _GAP), _INK, large)
    for row, height in zip(rows, heights, strict=True):
        caption_y = y + height - 2 * letters
        for column, i in enumerate(row):
            x = _GAP + column * (width + _GAP)
            middle = (width - shown[i].width) // 2
            sheet.paste(shown[i], (x + middle, caption_y - shown[i].height))
            caption = _fitted(captions[i], small, width)
            draw.text((x, caption_y + letters // 4), caption, _INK, small)
        y += height + _GAP
    return np.asarray(sheet)


def _fitted(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """``text``, cut to ``width`` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"
