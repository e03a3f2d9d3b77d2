"""Where everything lies in a scene: bands of stuff, then things one over the other."""

from dataclasses import dataclass, field

import numpy as np

from . import shapes
from .categories import STUFF_NAMES, THING_NAMES

MIN_VISIBLE_SHARE = 0.4  # of the whole outline, and of a band before things cover it
MIN_VISIBLE_PIXELS = 60  # at 128x128; grows with the area of the picture
REFERENCE_SIZE = 128  # lengths below are pixels at this size
RADII = (7.0, 25.0)
CROWD_SHARE = 0.06
VOID_SHARE = 0.14
_TRIES = 60


@dataclass(frozen=True)
class Item:
    """Something that lies on the bands: a thing, a crowd, or (name ``None``) a void patch."""

    name: str | None
    crowd: bool
    contours: shapes.Contours  # in pixels
    alpha: np.ndarray  # uint8 (size, size), see shapes.coverage


@dataclass
class Layout:
    """``labels`` (uint8) holds 0..B-1 for the B bands, then B + i for the i-th item.

    ``across`` is the distance (pixels, float32) at which a pixel lies across the bands;
    band j is where it is between ``edges[j - 1]`` and ``edges[j]``.
    """

    bands: list[str]
    across: np.ndarray
    edges: list[float]
    labels: np.ndarray
    items: list[Item] = field(default_factory=list)


def make_layout(size: int, rng: np.random.Generator) -> Layout:
    """Draw 2 to 4 bands, 2 to 7 things, sometimes a crowd and sometimes a void patch."""
    layout = _bands(size, rng)
    kinds = ["thing"] * int(rng.integers(2, 8))
    kinds += ["crowd"] * int(rng.random() < CROWD_SHARE) + ["void"] * int(rng.random() < VOID_SHARE)
    places = _Places(layout, size)
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

    def __init__(self, layout: Layout, size: int):
        self.layout, self.size = layout, size
        self.unit = size / REFERENCE_SIZE
        self.whole = np.bincount(layout.labels.ravel()).astype(np.float64)

    def put(self, kind: str, rng: np.random.Generator) -> None:
        """Try places until one fits; after ``_TRIES`` of them the picture is full."""
        for _ in range(_TRIES):
            name, contours = self._draw(kind, rng)
            item = Item(name, kind == "crowd", contours, shapes.coverage(contours, self.size))
            if self._fits(item):
                self.layout.items.append(item)
                return

    def _draw(self, kind: str, rng: np.random.Generator) -> tuple[str | None, shapes.Contours]:
        name = str(rng.choice(THING_NAMES))
        if kind == "thing":
            radius = np.exp(rng.uniform(*np.log(RADII)))
            angle, stretch = rng.uniform(0, 2 * np.pi), rng.uniform(0.82, 1.0)
            contours = shapes.turned(shapes.OUTLINES[name], radius * self.unit, angle, stretch)
        elif kind == "crowd":
            contours = shapes.cluster(name, rng.uniform(18, 26) * self.unit, rng)
        else:
            name, contours = None, shapes.blob(rng.uniform(6, 12) * self.unit, rng)
        return name, shapes.shifted(contours, rng.uniform(0.07, 0.93, 2) * self.size)

    def _fits(self, item: Item) -> bool:
        label = len(self.whole)
        labels = np.where(item.alpha > 127, np.uint8(label), self.layout.labels)
        whole = np.append(self.whole, shapes.area(item.contours))
        visible = np.bincount(labels.ravel(), minlength=label + 1)
        least = np.maximum(MIN_VISIBLE_SHARE * whole, MIN_VISIBLE_PIXELS * self.unit**2)
        if (visible < least).any():
            return False
        self.layout.labels, self.whole = labels, whole
        return True
