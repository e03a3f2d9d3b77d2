"""Colours a layout: random hues, texture, shadow, light and sensor noise."""

import cv2
import numpy as np

from . import textures
from .layout import REFERENCE_SIZE, Item, Layout

MIN_CONTRAST = 32.0  # CIE Lab distance between a thing's colour and what surrounds it
_CANDIDATES = 24
_VOID_TEXTURE = "marble"


def paint(layout: Layout, rng: np.random.Generator) -> np.ndarray:
    """Returns the picture: uint8 (size, size, 3), RGB."""
    canvas = _paint_bands(layout, rng)
    size = len(canvas)
    light = rng.uniform(0, 2 * np.pi)
    towards = np.array([np.cos(light), np.sin(light)])
    for item in layout.items:
        _paint_item(canvas, item, towards, rng)
    _light(canvas, towards, rng)
    noise = rng.uniform(0.006, 0.02) * textures.grain(size, rng)
    canvas += noise[..., None]
    return np.clip(canvas * 255 + 0.5, 0, 255).astype(np.uint8)


def _random_colours(count: int, saturation: tuple, value: tuple, rng) -> np.ndarray:
    """float32 (count, 3) RGB in 0..1."""
    hsv = np.stack(
        [rng.uniform(0, 360, count), rng.uniform(*saturation, count), rng.uniform(*value, count)],
        axis=1,
    )
    return cv2.cvtColor(hsv[None].astype(np.float32), cv2.COLOR_HSV2RGB)[0]


def _lab(colours: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(colours[None].astype(np.float32), cv2.COLOR_RGB2LAB)[0]


def _clearest(candidates: np.ndarray, behind: np.ndarray) -> np.ndarray:
    """The first candidate far enough in Lab from nearly all colours behind, else the farthest."""
    gaps = np.linalg.norm(_lab(candidates)[:, None] - _lab(behind)[None], axis=2)
    contrast = np.quantile(gaps, 0.1, axis=1)
    enough = np.flatnonzero(contrast >= MIN_CONTRAST)
    return candidates[enough[0] if len(enough) else contrast.argmax()]


def _paint_bands(layout: Layout, rng: np.random.Generator) -> np.ndarray:
    size = len(layout.labels)
    canvas, behind = None, np.full((1, 3), 0.5, np.float32)
    for j, name in enumerate(layout.bands):
        colour = _clearest(_random_colours(_CANDIDATES, (0.15, 0.6), (0.4, 0.85), rng), behind)
        behind = colour[None]
        dark, bright = _ramp(colour, rng.uniform(0.3, 0.42), rng)
        grey = textures.window(name, size, 0.2, rng)
        band = dark + grey[..., None] * (bright - dark)
        if canvas is None:
            canvas = band
        else:
            share = np.clip(layout.across - np.float32(layout.edges[j - 1]) + 0.5, 0, 1)
            canvas += share[..., None] * (band - canvas)
    return canvas


def _ramp(colour: np.ndarray, span: float, rng: np.random.Generator) -> tuple:
    """A darker and a brighter shade about ``colour``, their hues slightly apart."""
    tint = rng.uniform(-0.05, 0.05, 3)
    dark = np.clip(colour * (1 - span) - tint, 0, 1)
    bright = np.clip(colour + (1 - colour) * span * 0.8 + tint, 0, 1)
    return dark.astype(np.float32), bright.astype(np.float32)


def _paint_item(canvas: np.ndarray, item: Item, towards: np.ndarray, rng) -> None:
    size = len(canvas)
    unit = size / REFERENCE_SIZE
    left, top, width, height = cv2.boundingRect(item.alpha)
    reach = int(6 * unit)
    rows = slice(max(0, top - reach), min(size, top + height + reach))
    columns = slice(max(0, left - reach), min(size, left + width + reach))
    view, cover = canvas[rows, columns], item.alpha[rows, columns]
    colour = _item_colour(canvas, item, rng)
    if item.name is not None:
        _cast_shadow(view, cover, towards * -2.5 * unit, unit)
    dark, bright = _ramp(colour, rng.uniform(0.12, 0.25), rng)
    texture = str(rng.choice(list(textures.THING_TEXTURES))) if item.name else _VOID_TEXTURE
    grey = textures.window(texture, size, np.pi, rng)[rows, columns]
    paint = dark + grey[..., None] * (bright - dark)
    if item.name is not None:
        _draw_rim(paint, item, (columns.start, rows.start), unit)
    view += (cover[..., None] * np.float32(1 / 255)) * (paint - view)


def _item_colour(canvas: np.ndarray, item: Item, rng: np.random.Generator) -> np.ndarray:
    ring = cv2.dilate(item.alpha, np.ones((3, 3), np.uint8), iterations=2) > 0
    behind = canvas[ring & (item.alpha == 0)]
    behind = behind[:: max(1, len(behind) // 48)]
    saturation, value = ((0.45, 1.0), (0.35, 1.0)) if item.name else ((0.0, 0.2), (0.1, 0.9))
    return _clearest(_random_colours(_CANDIDATES, saturation, value, rng), behind)


def _cast_shadow(view: np.ndarray, cover: np.ndarray, offset: np.ndarray, unit: float) -> None:
    matrix = np.array([[1, 0, offset[0]], [0, 1, offset[1]]])
    moved = cv2.warpAffine(cover, matrix, cover.shape[::-1])
    soft = cv2.blur(moved, (2 * round(1.5 * unit) + 1,) * 2)
    view *= 1 - soft[..., None] * np.float32(0.4 / 255)


def _draw_rim(paint: np.ndarray, item: Item, corner: tuple[int, int], unit: float) -> None:
    bits = 6
    lines = [np.round((p - 0.5 - corner) * 2**bits).astype(np.int32) for p in item.contours]
    rim = np.zeros(paint.shape[:2], np.uint8)
    cv2.polylines(rim, lines, True, 255, max(1, round(1.6 * unit)), cv2.LINE_AA, bits)
    paint *= 1 - rim[..., None] * np.float32(0.45 / 255)


def _light(canvas: np.ndarray, towards: np.ndarray, rng: np.random.Generator) -> None:
    """A linear fall-off of brightness away from the light."""
    steps = np.linspace(-0.5, 0.5, len(canvas), dtype=np.float32)
    strength = rng.uniform(0.1, 0.5)
    plane = steps[None] * np.float32(towards[0]) + steps[:, None] * np.float32(towards[1])
    canvas *= (1 + np.float32(strength) * plane)[..., None]
