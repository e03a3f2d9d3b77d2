"""Several pictures with captions or names on one sheet."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from .fonts import font_for

_GAP = 12  # pixels between pictures and around them
_LEAST_LETTERS = 12  # height in pixels, which grows with the pictures
_BACKGROUND, _INK = (255, 255, 255), (20, 20, 20)


def thumbnail(picture: np.ndarray, side: int) -> np.ndarray:
    """The picture, uint8 (H, W, 3), with a longest side of at most ``side`` pixels."""
    small = Image.fromarray(picture)
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    return np.asarray(small)


def draw_sheet(
    pictures: Sequence[np.ndarray],
    captions: Sequence[str],
    *,
    columns: int,
    title: str = "",
    note: str = "",
) -> np.ndarray:
    """Pictures in rows, each above its caption, under a title and a note.

    Args:
        pictures: uint8 (H, W, 3), RGB, of any sizes; at least one.
        captions: one each; a caption that is too wide is cut and ends in "…".
        columns: pictures in a row.

    Returns:
        uint8 (H', W', 3), RGB.
    """
    shown = [Image.fromarray(picture) for picture in pictures]
    columns = min(columns, len(shown))
    width = max(picture.width for picture in shown)
    letters = max(_LEAST_LETTERS, width // 32)
    rows = [range(i, min(i + columns, len(shown))) for i in range(0, len(shown), columns)]
    heights = [max(shown[i].height for i in row) + 2 * letters for row in rows]
    y = _GAP + (3 * letters if title else 0) + (2 * letters if note else 0)
    size = (_GAP + columns * (width + _GAP), y + sum(heights) + _GAP * (len(rows) - 1))
    sheet = Image.new("RGB", size, _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    _write(draw, (_GAP, _GAP), title, 1.4 * letters, sheet.width - 2 * _GAP)
    _write(draw, (_GAP, y - 2 * letters), note, letters, sheet.width - 2 * _GAP)
    for row, height in zip(rows, heights, strict=True):
        caption_y = y + height - 2 * letters
        for column, i in enumerate(row):
            x = _GAP + column * (width + _GAP)
            middle = (width - shown[i].width) // 2
            sheet.paste(shown[i], (x + middle, caption_y - shown[i].height))
            _write(draw, (x, caption_y + letters // 4), captions[i], letters, width)
        y += height + _GAP
    return np.asarray(sheet)


def _write(
    draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, height: float, width: float
) -> None:
    """Write one line, cut to ``width`` pixels, with its upper left corner at ``place``."""
    font = font_for(f"{text}…", height)
    if font.getlength(text) > width:
        while text and font.getlength(f"{text}…") > width:
            text = text[:-1]
        text += "…"
    draw.text(place, text, _INK, font)


def draw_table(
    rows: Sequence[Sequence[np.ndarray | None]],
    row_names: Sequence[str],
    column_names: Sequence[str],
    *,
    title: str = "",
    note: str = "",
) -> np.ndarray:
    """Pictures of one size in rows and columns that have names, under a title and a note.

    Args:
        rows: uint8 (H, W, 3), RGB; None for an empty place.
        row_names: written left of each row; may have several lines.

    Returns:
        uint8 (H', W', 3), RGB.
    """
    height, width = next(x for row in rows for x in row if x is not None).shape[:2]
    letters = max(_LEAST_LETTERS, width // 12)
    small = font_for("".join(row_names), letters)
    lines = [line for name in row_names for line in name.split("\n")]
    left = 2 * _GAP + round(max(small.getlength(line) for line in lines))
    top = _GAP + sum(h * letters for h, text in ((2, title), (2, note), (2, "names")) if text)
    gap = _GAP // 3
    size = (left + len(column_names) * (width + gap), top + len(rows) * (height + gap))
    sheet = Image.new("RGB", (size[0] + _GAP, size[1] + _GAP), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    room = sheet.width - 2 * _GAP
    _write(draw, (_GAP, _GAP), title, 1.4 * letters, room)
    _write(draw, (_GAP, top - 3.7 * letters), note, letters, room)
    for column, name in enumerate(column_names):
        x = left + column * (width + gap)
        _write(draw, (x, top - 1.5 * letters), name, letters, width)
    for row, (pictures, name) in enumerate(zip(rows, row_names, strict=True)):
        y = top + row * (height + gap)
        draw.text((_GAP, y), name, _INK, small)
        for column, picture in enumerate(pictures):
            if picture is not None:
                sheet.paste(Image.fromarray(picture), (left + column * (width + gap), y))
    return np.asarray(sheet)
