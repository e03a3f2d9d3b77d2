"""One generated scene from its number."""

import numpy as np

from ..segments import segment_areas, segment_boxes
from .categories import CATEGORY_ID
from .layout import Layout, make_layout
from .levels import find_level
from .painting import paint


def generate_scene(
    index: int, size: int = 128, seed: int = 0, level: str = "standard"
) -> tuple[np.ndarray, np.ndarray, list[dict]]:
    """Make scene ``index`` of the endless series ``seed``; equal arguments give equal scenes.

    Args:
        level: a name of ``LEVELS``: "hard" has more things, smaller and larger ones, that hide one
            another more and lie beside others of their class, colour and texture.

    Returns:
        image: uint8 (size, size, 3), RGB.
        ids: int32 (size, size), the segment id of every pixel, 0 = void, below 2**24.
        segments_info: COCO's keys ``id``, ``category_id`` (of SCENES_CATEGORIES), ``area``,
            ``bbox`` (x, y, width, height) and ``iscrowd``.
    """
    rng = np.random.default_rng([seed, index])
    how = find_level(level)
    layout = make_layout(size, rng, how)
    ids, segments_info = _segments(layout, rng)
    return paint(layout, rng, how), ids, segments_info


def _segments(layout: Layout, rng: np.random.Generator) -> tuple[np.ndarray, list[dict]]:
    names = [*layout.bands, *(item.name for item in layout.items)]
    crowd = [False] * len(layout.bands) + [item.crowd for item in layout.items]
    labels = layout.labels + 1
    areas, boxes = (f(labels, len(names)).tolist() for f in (segment_areas, segment_boxes))
    table, segments_info = np.zeros(len(names), np.int32), []
    for label, (name, (x0, y0, x1, y1)) in enumerate(zip(names, boxes, strict=True)):
        if name is None:
            continue
        table[label] = _new_id(table, rng)
        segments_info.append(
            {
                "id": int(table[label]),
                "category_id": CATEGORY_ID[name],
                "area": areas[label],
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "iscrowd": int(crowd[label]),
            }
        )
    return table[layout.labels], segments_info


def _new_id(taken: np.ndarray, rng: np.random.Generator) -> int:
    """An id of one, two or three bytes that is not taken."""
    while True:
        candidate = int(rng.integers(1, 256 ** int(rng.integers(1, 4))))
        if candidate not in taken:
            return candidate
