"""The classes of a picture with their colours, in a strip below it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from ..classes import Classes
from .fonts import font_for

_BACKGROUND, _INK = (255, 255, 255), (20, 20, 20)
SCORE_NOTE = "%: score, class probability times mask quality; not how exact a mask is."


def draw_legend(
    picture: np.ndarray,
    classes: Classes,
    segments_info: Sequence[dict[str, Any]],
    height: int | None = None,
) -> np.ndarray:
    """``picture``, uint8 (H, W, 3), above a strip with the classes of its segments.

    Things are drawn in shades of the colour of their class. Where segments have scores, the strip
    says what these are. Letters are ``height`` pixels high, by default as fits the width.
    """
    width = picture.shape[1]
    height = height or max(12, round(width / 55))
    entries = {s["category_id"]: classes.names[s["category_id"]] for s in segments_info}
    if any("score" in segment for segment in segments_info):
        entries[None] = SCORE_NOTE
    line, gap = round(1.6 * height), height
    x, y, places = gap, gap // 2, []
    for category, name in entries.items():
        mark = 0 if category is None else round(1.5 * height)
        length = mark + round(font_for(name, height).getlength(name))
        if x > gap and x + length > width - gap:
            x, y = gap, y + line
        places.append((x, y, mark, category, name))
        x += length + 2 * gap
    if not places:
        return picture
    strip = Image.new("RGB", (width, y + line + gap // 2), _BACKGROUND)
    draw = ImageDraw.Draw(strip)
    for x, y, mark, category, name in places:
        if mark:
            square = (x, y + line // 2 - height // 2, x + height, y + line // 2 + height // 2)
            draw.rectangle(square, tuple(classes.colors[category]), outline=_INK)
        draw.text((x + mark, y + line // 2), name, _INK, font_for(name, height), anchor="lm")
    return np.concatenate([picture, np.asarray(strip)])
