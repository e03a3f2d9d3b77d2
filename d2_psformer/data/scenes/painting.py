"""Painting of a layout: random hues, texture, shadow, light and sensor noise.

The canvas is float32 (3, size, size), RGB in about 0..1: with the channels first, NumPy's inner
loops run along whole rows.
"""

import cv2
import numpy as np

from . import textures
from .categories import THING_NAMES
from .layout import REFERENCE_SIZE, Item, Layout
from .levels import LEVELS, Level
from .shapes import to_fixed_point

_CANDIDATES = 24  # colours to choose from
_ANY_HUE = (0, 360)
_STUFF_TONES = (_ANY_HUE, (0.15, 0.6), (0.45, 0.9))  # ranges of hue, saturation and value
_THING_TONES = (_ANY_HUE, (0.45, 1.0), (0.35, 1.0))
_VOID_TONES = (_ANY_HUE, (0.0, 0.2), (0.1, 0.9))
_HUES_OF_A_CLASS = 30  # degrees
_THING_TEXTURES = tuple(textures.THING_TEXTURES)
_VOID_TEXTURE = "marble"


# Colour (3,) and name of the texture.
_Coat = tuple[np.ndarray, str]


def paint(
    layout: Layout, rng: np.random.Generator, level: Level = LEVELS["standard"]
) -> np.ndarray:
    """Returns the picture: uint8 (size, size, 3), RGB."""
    canvas = _paint_bands(layout, level.contrast, rng)
    angle = rng.uniform(0, 2 * np.pi)
    towards_light = np.array([np.cos(angle), np.sin(angle)])
    coats: list[_Coat] = []
    for item in layout.items:
        coat = None if item.twin is None else coats[item.twin]
        coats.append(_paint_item(canvas, item, coat, towards_light, level, rng))
    _light(canvas, towards_light, rng)
    canvas += np.float32(rng.uniform(0.006, 0.02)) * textures.grain(canvas.shape[1], rng)
    levels = np.clip(canvas * 255 + 0.5, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(levels.transpose(1, 2, 0))


def _paint_bands(layout: Layout, contrast: float, rng: np.random.Generator) -> np.ndarray:
    size = len(layout.labels)
    canvas, neighbour = None, np.full((1, 3), 0.5, np.float32)
    for j, name in enumerate(layout.bands):
        colour = _contrasting_colour(_STUFF_TONES, neighbour, contrast, rng)
        neighbour = colour[None]
        grey = textures.window(name, size, 0.2, rng)
        band = _tinted(grey, colour, rng.uniform(0.3, 0.42), rng)
        if canvas is None:
            canvas = band
        else:
            share = np.clip(layout.across - np.float32(layout.edges[j - 1]) + 0.5, 0, 1)
            canvas += share * (band - canvas)
    return canvas


def _paint_item(
    canvas: np.ndarray,
    item: Item,
    coat: _Coat | None,
    towards_light: np.ndarray,
    level: Level,
    rng: np.random.Generator,
) -> _Coat:
    """Paint with this coat, or with a new one; returns it."""
    size = canvas.shape[1]
    unit = size / REFERENCE_SIZE
    rows, columns = _surroundings(item.alpha, reach=int(6 * unit))
    view, cover = canvas[:, rows, columns], item.alpha[rows, columns]
    is_void = item.name is None

    if coat is None:
        tones = _VOID_TONES if is_void else _thing_tones(item.name, level)
        colour = _contrasting_colour(tones, _pixels_around(view, cover), level.contrast, rng)
        texture = _VOID_TEXTURE if is_void else _THING_TEXTURES[rng.integers(len(_THING_TEXTURES))]
        coat = colour, texture
    colour, texture = coat
    grey = textures.window(texture, size, np.pi, rng, shape=cover.shape)
    paint = _tinted(grey, colour, rng.uniform(0.12, 0.25), rng)
    if not is_void:
        _cast_shadow(view, cover, towards_light * -2.5 * unit, unit)
        _draw_rim(paint, item, np.array([columns.start, rows.start]), unit)
    view += (cover * np.float32(1 / 255)) * (paint - view)
    return coat


def _thing_tones(name: str, level: Level) -> tuple:
    if not level.own_hues:
        return _THING_TONES
    first = THING_NAMES.index(name) * 360 / len(THING_NAMES)
    return ((first, first + _HUES_OF_A_CLASS), *_THING_TONES[1:])


def _surroundings(alpha: np.ndarray, reach: int) -> tuple[slice, slice]:
    """Rows and columns of the covered box and ``reach`` pixels about it."""
    left, top, width, height = cv2.boundingRect(alpha)
    return (
        slice(max(0, top - reach), min(len(alpha), top + height + reach)),
        slice(max(0, left - reach), min(len(alpha), left + width + reach)),
    )


def _pixels_around(view: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """About 50 to 100 colours (N, 3) from just outside an outline."""
    near = cv2.dilate(cover, np.ones((5, 5), np.uint8))
    pixels = view[:, (near > 0) & (cover == 0)].T
    return pixels[:: max(1, len(pixels) // 50)]


def _contrasting_colour(
    tones: tuple, behind: np.ndarray, least: float, rng: np.random.Generator
) -> np.ndarray:
    """A random RGB colour, float32 (3,), that differs from the colours ``behind`` (N, 3).

    It is the first of some candidates that is ``least`` away in Lab from nine in ten of them, else
    the one farthest from them.
    """
    hue, saturation, value = (rng.uniform(low, high, _CANDIDATES) for low, high in tones)
    hsv = np.stack([hue, saturation, value], axis=1).astype(np.float32)
    candidates = cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0]
    gaps = np.linalg.norm(_lab(candidates)[:, None] - _lab(behind)[None], axis=2)
    contrast = np.sort(gaps, axis=1)[:, len(behind) // 10]
    enough = np.flatnonzero(contrast >= least)
    return candidates[enough[0] if len(enough) else contrast.argmax()]


def _lab(colours: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(np.ascontiguousarray(colours[None]), cv2.COLOR_RGB2LAB)[0]


def _tinted(
    grey: np.ndarray, colour: np.ndarray, span: float, rng: np.random.Generator
) -> np.ndarray:
    """Grey (H, W) -> RGB (3, H, W) between a dark and a bright shade of ``colour``.

    The two shades are further apart for a larger ``span`` and differ a little in hue.
    """
    tint = rng.uniform(-0.05, 0.05, 3)
    dark = np.clip(colour * (1 - span) - tint, 0, 1).astype(np.float32)
    bright = np.clip(colour + (1 - colour) * span * 0.8 + tint, 0, 1).astype(np.float32)
    return dark[:, None, None] + grey * (bright - dark)[:, None, None]


def _cast_shadow(view: np.ndarray, cover: np.ndarray, offset: np.ndarray, unit: float) -> None:
    matrix = np.array([[1, 0, offset[0]], [0, 1, offset[1]]])
    moved = cv2.warpAffine(cover, matrix, cover.shape[::-1])
    width = 2 * round(1.5 * unit) + 1
    view *= 1 - cv2.blur(moved, (width, width)) * np.float32(0.4 / 255)


def _draw_rim(paint: np.ndarray, item: Item, corner: np.ndarray, unit: float) -> None:
    """Darken the paint along the outline, so that outlines show on any ground."""
    rim = np.zeros(paint.shape[1:], np.uint8)
    lines, bits = to_fixed_point([polygon - corner for polygon in item.contours])
    cv2.polylines(rim, lines, True, 255, max(1, round(1.6 * unit)), cv2.LINE_AA, bits)
    paint *= 1 - rim * np.float32(0.45 / 255)


def _light(canvas: np.ndarray, towards_light: np.ndarray, rng: np.random.Generator) -> None:
    """A linear fall-off of brightness away from the light."""
    steps = np.linspace(-0.5, 0.5, canvas.shape[1], dtype=np.float32)
    x, y = np.float32(rng.uniform(0.1, 0.5) * towards_light)
    canvas *= 1 + x * steps[None] + y * steps[:, None]
