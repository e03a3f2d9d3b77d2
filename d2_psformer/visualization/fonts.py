"""Fonts that have the letters of a text, in whatever script."""

import functools
import logging
from pathlib import Path

from PIL import ImageFont

logger = logging.getLogger(__name__)


def font_for(text: str, height: float) -> ImageFont.FreeTypeFont:
    """A font of ``height`` pixels for ``text``.

    It is DejaVu Sans, which comes with Matplotlib, or else the first font of the system that has
    all letters. Where none has them a warning is logged, once for a text, and some letters are
    drawn as boxes.
    """
    return _load(_file_for("".join(sorted({*text}))), round(height))


@functools.cache
def _load(path: str, height: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, height)


@functools.cache
def _file_for(letters: str) -> str:
    from matplotlib import font_manager, get_data_path  # 0.4 s, needed only where text is drawn

    default = str(Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))
    needed = {ord(letter) for letter in letters if not letter.isspace()}
    if needed <= _letters_of(default):
        return default
    for path in sorted(font_manager.findSystemFonts(), key=_preference):
        if needed <= _letters_of(path):
            return path
    logger.warning("No font has all the letters of '%s': install one, such as Noto Sans.", letters)
    return default


def _preference(path: str) -> tuple[bool, bool, str]:
    """Plain fonts without serifs come first."""
    name = Path(path).stem.lower()
    return "sans" not in name, "regular" not in name, name


@functools.cache
def _letters_of(path: str) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(path).get_charmap())
    except RuntimeError:  # no outlines, as in fonts of coloured emoji
        return frozenset()
