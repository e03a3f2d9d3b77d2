"""Outlines of the things: lists of polygons that do not depend on the resolution."""

import cv2
import numpy as np

Contours = list[np.ndarray]  # (K, 2) float arrays of x, y; holes run the other way round

# Area of every outline at radius 1: the same for all, so that size says nothing of the class.
UNIT_AREA = 2.25


def _circle(radius: float, points: int = 64) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _star(tips: int = 5, inner: float = 0.42) -> np.ndarray:
    polygon = _circle(1.0, 2 * tips)
    polygon[1::2] *= inner
    return polygon


def _cross(arm: float = 0.34) -> np.ndarray:
    """Plus sign of half length 1 and half width ``arm``: one corner, turned three times."""
    corner = np.array([[1.0, -arm], [1.0, arm], [arm, arm]])
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])  # a quarter turn of row vectors
    return np.concatenate([corner @ np.linalg.matrix_power(turn, k) for k in range(4)])


def area(contours: Contours) -> float:
    """Area by the shoelace formula, holes taken off."""
    total = 0.0
    for polygon in contours:
        x, y = polygon.T
        total += 0.5 * float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))
    return abs(total)


def _to_unit_area(contours: Contours) -> Contours:
    scale = np.sqrt(UNIT_AREA / area(contours))
    return [scale * polygon for polygon in contours]


OUTLINES: dict[str, Contours] = {
    name: _to_unit_area(contours)
    for name, contours in {
        "disc": [_circle(1.0)],
        "square": [_circle(1.0, 4)],
        "triangle": [_circle(1.0, 3)],
        "star": [_star()],
        "ring": [_circle(1.0), _circle(0.55)[::-1]],
        "cross": [_cross()],
    }.items()
}


def turned(contours: Contours, radius: float, angle: float, stretch: float = 1.0) -> Contours:
    """Scale by ``radius``, squeeze one axis to ``stretch``, turn by ``angle`` radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = radius * np.diag([1.0, stretch]) @ np.array([[cos, sin], [-sin, cos]])
    return [polygon @ matrix for polygon in contours]


def shifted(contours: Contours, centre: np.ndarray) -> Contours:
    return [polygon + centre for polygon in contours]


def cluster(name: str, radius: float, rng: np.random.Generator) -> Contours:
    """A crowd: 7 to 14 tiny outlines of one class, apart from each other, within ``radius``."""
    places = np.array([(x, y) for x in range(-2, 3) for y in range(-2, 3) if x * x + y * y <= 5])
    chosen = rng.permutation(len(places))[: rng.integers(7, 15)]
    step, contours = radius / 2.2, []
    for place in places[chosen]:
        tiny = turned(OUTLINES[name], 0.33 * step, rng.uniform(0, 2 * np.pi))
        contours += shifted(tiny, step * (place + rng.uniform(-0.12, 0.12, 2)))
    return contours


def blob(radius: float, rng: np.random.Generator) -> Contours:
    """One irregular, smooth outline."""
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    waves = sum(
        rng.uniform(0.06, 0.16) * np.sin(k * angle + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 5)
    )
    return [radius * (1 + waves)[:, None] * _circle(1.0)]


def to_fixed_point(contours: Contours) -> tuple[list[np.ndarray], int]:
    """Contours in pixels as OpenCV's fixed-point integers, and their number of fraction bits."""
    bits = 6
    # OpenCV puts pixel centres at whole numbers, we put them at halves.
    return [np.round((polygon - 0.5) * 2**bits).astype(np.int32) for polygon in contours], bits


def coverage(contours: Contours, size: int) -> np.ndarray:
    """Share of every pixel inside an outline that touches the canvas: uint8, 255 = all of it.

    Drawn four times as large and shrunk: OpenCV's own anti-aliasing makes outlines wider by most
    of a pixel on every side, which would close the holes of small rings.
    """
    points = np.concatenate(contours)
    left, top = np.floor(points.min(axis=0)).astype(int).clip(0, size)
    right, bottom = np.ceil(points.max(axis=0)).astype(int).clip(0, size)
    large = np.zeros((4 * (bottom - top), 4 * (right - left)), np.uint8)
    polygons, bits = to_fixed_point([4 * (polygon - (left, top)) for polygon in contours])
    cv2.fillPoly(large, polygons, 255, shift=bits)
    canvas = np.zeros((size, size), np.uint8)
    canvas[top:bottom, left:right] = cv2.resize(
        large, (right - left, bottom - top), interpolation=cv2.INTER_AREA
    )
    return canvas
