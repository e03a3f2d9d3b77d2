"""The layout of a scene: bands of stuff, and things that cover them and each other."""

from dataclasses import dataclass, field

import numpy as np

from . import shapes
from .categories import STUFF_NAMES, THING_NAMES
from .levels import LEVELS, Level

REFERENCE_SIZE = 128  # lengths below are pixels at this size
CROWD_SHARE = 0.06
VOID_SHARE = 0.14
_TRIES = 60


@dataclass(frozen=True)
class Item:
    """An object on the bands: a thing, a crowd, or (name ``None``) a void patch."""

    name: str | None
    crowd: bool
    contours: shapes.Contours  # in pixels
    alpha: np.ndarray  # uint8 (size, size), see shapes.coverage
    twin: int | None = None  # the earlier item whose colour and texture this one has


@dataclass
class Layout:
    """``labels`` (uint8) holds 0..B-1 for the B bands, then B + i for the i-th item.

    ``across`` is the coordinate (pixels, float32) of each pixel across the bands; band j is where
    it is between ``edges[j - 1]`` and ``edges[j]``.
    """

    bands: list[str]
    across: np.ndarray
    edges: list[float]
    labels: np.ndarray
    items: list[Item] = field(default_factory=list)


def make_layout(size: int, rng: np.random.Generator, level: Level = LEVELS["standard"]) -> Layout:
    """Draw 2 to 4 bands, things, sometimes a crowd and sometimes a void patch."""
    layout = _bands(size, rng)
    fewest, most = level.things
    kinds = ["thing"] * int(rng.integers(fewest, most + 1))
    kinds += ["crowd"] * int(rng.random() < CROWD_SHARE) + ["void"] * int(rng.random() < VOID_SHARE)
    places = _Places(layout, size, level)
    for kind in rng.permutation(kinds):
        places.put(kind, rng)
    return layout


def _bands(size: int, rng: np.random.Generator) -> Layout:
    count = int(rng.integers(2, 5))
    names = [str(name) for name in rng.permutation(STUFF_NAMES)[:count]]
    # Quantiles of the distance give every band a known share of the picture.
    shares = 0.14 + (1 - 0.14 * count) * rng.dirichlet(np.full(count, 3.0))
    angle = rng.uniform(-0.6, 0.6)
    grid = np.arange(size, dtype=np.float32)
    along = grid[None] * np.float32(np.cos(angle)) + grid[:, None] * np.float32(np.sin(angle))
    across = grid[:, None] * np.float32(np.cos(angle)) - grid[None] * np.float32(np.sin(angle))
    for waves in (1.0, 2.3):
        phase, height = rng.uniform(0, 2 * np.pi), rng.uniform(0.01, 0.035) * size / waves
        across += np.float32(height) * np.sin(
            along * np.float32(waves * 2 * np.pi / size) + np.float32(phase)
        )
    edges = [float(e) for e in np.quantile(across[::2, ::2], np.cumsum(shares)[:-1])]
    labels = sum((across > edge).astype(np.uint8) for edge in edges)
    return Layout(names, across, edges, labels)


class _Places:
    """Puts items on a layout so that everything below them stays visible enough."""

    def __init__(self, layout: Layout, size: int, level: Level):
        self.layout, self.size, self.level = layout, size, level
        self.unit = size / REFERENCE_SIZE
        self.whole = np.bincount(layout.labels.ravel()).astype(np.float64)

    def put(self, kind: str, rng: np.random.Generator) -> None:
        """Try places until one fits; after ``_TRIES`` of them the picture is full."""
        twin = self._choose_twin(rng) if kind == "thing" else None
        for _ in range(_TRIES):
            name, contours = self._draw(kind, rng) if twin is None else self._draw_beside(twin, rng)
            alpha = shapes.coverage(contours, self.size)
            item = Item(name, kind == "crowd", contours, alpha, twin)
            if self._fits(item):
                self.layout.items.append(item)
                return

    def _choose_twin(self, rng: np.random.Generator) -> int | None:
        things = [i for i, item in enumerate(self.layout.items) if item.name and not item.crowd]
        # at level "standard" no number is drawn, so that its scenes stay what they are
        if not self.level.twin_share or not things or rng.random() >= self.level.twin_share:
            return None
        return int(rng.choice(things))

    def _draw(self, kind: str, rng: np.random.Generator) -> tuple[str | None, shapes.Contours]:
        name = str(rng.choice(THING_NAMES))
        if kind == "thing":
            radius = np.exp(rng.uniform(*np.log(self.level.radii)))
            angle, stretch = rng.uniform(0, 2 * np.pi), rng.uniform(0.82, 1.0)
            contours = shapes.turned(shapes.OUTLINES[name], radius * self.unit, angle, stretch)
        elif kind == "crowd":
            contours = shapes.cluster(name, rng.uniform(18, 26) * self.unit, rng)
        else:
            name, contours = None, shapes.blob(rng.uniform(6, 12) * self.unit, rng)
        return name, shapes.shifted(contours, rng.uniform(0.07, 0.93, 2) * self.size)

    def _draw_beside(self, twin: int, rng: np.random.Generator) -> tuple[str, shapes.Contours]:
        """Another of its class, where the two overlap or just about touch."""
        item = self.layout.items[twin]
        radius = float(np.sqrt(shapes.area(item.contours) / shapes.UNIT_AREA))
        contours = shapes.turned(
            shapes.OUTLINES[item.name],
            radius * rng.uniform(0.8, 1.2),
            rng.uniform(0, 2 * np.pi),
            rng.uniform(0.82, 1.0),
        )
        direction = rng.uniform(0, 2 * np.pi)
        way = radius * rng.uniform(1.1, 2.0) * np.array([np.cos(direction), np.sin(direction)])
        centre = (item.contours[0].mean(axis=0) + way).clip(0.04 * self.size, 0.96 * self.size)
        return item.name, shapes.shifted(contours, centre)

    def _fits(self, item: Item) -> bool:
        label = len(self.whole)
        labels = np.where(item.alpha > 127, np.uint8(label), self.layout.labels)
        whole = np.append(self.whole, shapes.area(item.contours))
        visible = np.bincount(labels.ravel(), minlength=label + 1)
        pixels = self.level.min_visible_pixels * self.unit**2
        least = np.maximum(self.level.min_visible_share * whole, pixels)
        if (visible < least).any():
            return False
        self.layout.labels, self.whole = labels, whole
        return True
