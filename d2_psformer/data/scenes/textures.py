"""Grey textures as large tiles, made once per resolution; a scene shows a window of a tile.

A tile is float32 (3 * size, 3 * size) with values in 0..1. Lengths are in units of 1/128 of
the picture, so that a scene looks alike at every resolution.
"""

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np

_TILE_SIDE = 3  # in pictures


def fractal(side: int, cell: float, rng: np.random.Generator, octaves: int = 4) -> np.ndarray:
    """Smooth noise in 0..1 whose largest blotches are about ``cell`` pixels wide."""
    total = np.zeros((side, side), np.float32)
    for octave in range(octaves):
        knots = max(2, int(side / cell * 2**octave) + 1)
        grid = rng.random((knots, knots), dtype=np.float32)
        total += 0.5**octave * cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC)
    return cv2.normalize(total, None, 0.0, 1.0, cv2.NORM_MINMAX)


def _smoothstep(values: np.ndarray, low: float, high: float) -> np.ndarray:
    t = np.clip((values - low) / (high - low), 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)


def _grid(side: int, unit: float) -> tuple[np.ndarray, np.ndarray]:
    """x (1, side) and y (side, 1) in units."""
    steps = np.arange(side, dtype=np.float32) / np.float32(unit)
    return steps[None], steps[:, None]


def _sky(side: int, unit: float, rng: np.random.Generator) -> np.ndarray:
    """Clouds about twice as wide as high, with nothing fine in them."""
    noise = fractal(side, 40 * unit, rng)[:, : side // 2]
    return _smoothstep(cv2.resize(noise, (side, side)), 0.35, 0.8)


def _water(side: int, unit: float, rng: np.random.Generator) -> np.ndarray:
    x, y = _grid(side, unit)
    sway = 1.6 * np.sin(x * 0.22 + 3 * fractal(side, 60 * unit, rng)) + 5 * fractal(
        side, 30 * unit, rng, 2
    )
    waves = 0.5 + 0.5 * np.sin((y + sway) * np.float32(2 * np.pi / 6.5))
    return _smoothstep(waves, 0.25, 1.0) * (0.45 + 0.55 * fractal(side, 25 * unit, rng))


def _grass(side: int, unit: float, rng: np.random.Generator) -> np.ndarray:
    canvas = np.full((side, side), 90, np.uint8)
    count = int((side / unit) ** 2 / 5)
    foot = rng.uniform(0, side, (count, 2))
    blade = np.stack([rng.normal(0, 1.8, count), -rng.uniform(5, 11, count)], axis=1) * unit
    ends = np.stack([foot, foot + blade], axis=1)
    tones = rng.integers(0, 256, count)
    for line, tone in zip((ends * 16).astype(np.int32), tones.tolist(), strict=True):
        cv2.line(canvas, line[0], line[1], tone, max(1, round(unit)), cv2.LINE_AA, 4)
    return canvas.astype(np.float32) / 255


def _brick(side: int, unit: float, rng: np.random.Generator) -> np.ndarray:
    x, y = _grid(side, unit)
    row = (y // 7).astype(int)
    x = x + 6.5 * (row % 2)
    column = (x // 13).astype(int)
    tone = 0.55 + 0.45 * rng.random((row.max() + 1, column.max() + 1), dtype=np.float32)
    bricks = (x % 13 > 1.3) & (y % 7 > 1.3)
    return tone[row, column] * bricks * (0.85 + 0.15 * fractal(side, 6 * unit, rng))


def _pebbles(side: int, unit: float, rng: np.random.Generator) -> np.ndarray:
    """Rounded cells about seeds on a jittered grid."""
    cell = 8 * unit
    count = int(side / cell) + 1
    knots = np.stack(np.meshgrid(np.arange(count), np.arange(count)), axis=-1).reshape(-1, 2)
    seeds = ((knots + rng.uniform(0.15, 0.85, knots.shape)) * cell).astype(int)
    seeds = seeds[(seeds < side).all(axis=1)]
    empty = np.ones((side, side), np.uint8)
    empty[seeds[:, 1], seeds[:, 0]] = 0
    distance, label = cv2.distanceTransformWithLabels(
        empty, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    tone = 0.5 + 0.5 * rng.random(label.max() + 1, dtype=np.float32)
    edge = cv2.morphologyEx(label.astype(np.float32), cv2.MORPH_GRADIENT, np.ones((3, 3))) > 0
    stone = cv2.blur(np.where(edge, np.float32(0), tone[label]), (3, 3))
    return stone * (1 - 0.5 * np.minimum(distance / cell, 1)).astype(np.float32)


def _plain(side: int, unit: float, rng: np.random.Generator) -> np.ndarray:
    return np.full((side, side), 0.5, np.float32)


def _stripes(side: int, unit: float, rng: np.random.Generator) -> np.ndarray:
    x, y = _grid(side, unit)
    return _smoothstep(np.sin(x * np.float32(2 * np.pi / 6)) + 0 * y, -0.4, 0.4)


def _checks(side: int, unit: float, rng: np.random.Generator) -> np.ndarray:
    x, y = _grid(side, unit)
    turn = np.float32(2 * np.pi / 9)
    return _smoothstep(np.sin(x * turn) * np.sin(y * turn), -0.15, 0.15)


def _dots(side: int, unit: float, rng: np.random.Generator) -> np.ndarray:
    x, y = _grid(side, unit)
    turn = np.float32(2 * np.pi / 5.5)
    return _smoothstep(np.cos(x * turn) + np.cos(y * turn), 0.5, 0.9)


def _marble(side: int, unit: float, rng: np.random.Generator) -> np.ndarray:
    veins = np.sin(12 * fractal(side, 25 * unit, rng))
    return _smoothstep(veins, -1.0, 1.0)


_Maker = Callable[[int, float, np.random.Generator], np.ndarray]
STUFF_TEXTURES: dict[str, _Maker] = {
    "sky": _sky, "water": _water, "grass": _grass, "brick": _brick, "pebbles": _pebbles,
}  # fmt: skip
THING_TEXTURES: dict[str, _Maker] = {
    "plain": _plain, "stripes": _stripes, "checks": _checks, "dots": _dots, "marble": _marble,
}  # fmt: skip


@lru_cache(maxsize=64)
def _tile(name: str, size: int) -> np.ndarray:
    makers = STUFF_TEXTURES | THING_TEXTURES
    rng = np.random.default_rng(list(makers).index(name))
    return np.ascontiguousarray(makers[name](_TILE_SIDE * size, size / 128, rng), np.float32)


@lru_cache(maxsize=4)
def _grain_tile(size: int) -> np.ndarray:
    rng = np.random.default_rng(99)
    return rng.standard_normal((2 * size, 2 * size), dtype=np.float32)


def grain(size: int, rng: np.random.Generator) -> np.ndarray:
    """Sensor noise: float32 (size, size) of standard deviation 1."""
    x, y = rng.integers(0, size, 2)
    return _grain_tile(size)[y : y + size, x : x + size]


def window(
    name: str,
    size: int,
    turn: float,
    rng: np.random.Generator,
    shape: tuple[int, int] | None = None,
) -> np.ndarray:
    """A view of a tile at a random place, scale and mirror, turned by at most ``turn`` radians.

    Args:
        size: side of the scene in pixels, which sets the scale of the texture.
        shape: height and width of the view; the whole scene if left out.

    Returns:
        float32 array of that shape with values in 0..1.
    """
    height, width = shape or (size, size)
    angle, scale = rng.uniform(-turn, turn), rng.uniform(0.8, 1.25)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]]) * (rng.choice([-1.0, 1.0]), 1.0)
    middle_of_tile = rng.uniform(1.0, _TILE_SIDE - 1.0, 2) * size
    offset = middle_of_tile - linear @ (width / 2, height / 2)
    return cv2.warpAffine(
        _tile(name, size),
        np.column_stack([linear, offset]),
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )
