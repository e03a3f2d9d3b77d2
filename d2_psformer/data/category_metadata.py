"""From a list of categories to the class metadata that Detectron2's parts expect.

A category is a dict ``id`` (int or str), ``name``, ``isthing`` (0 or 1), ``color`` ([R, G, B] of
0...255, optional), as in the ``categories`` of a COCO-panoptic JSON.
"""

import colorsys
from collections.abc import Sequence
from typing import Any

Categories = Sequence[dict[str, Any]]


def things_first_metadata(categories: Categories) -> dict[str, Any]:
    """Metadata of one's own data: contiguous ids 0...T-1 for things, T...T+S-1 for stuff.

    Things and stuff are sorted by id, so that the order in a file has no influence.
    ``thing_classes`` are the T thing names and ``stuff_classes`` all T+S, because the Visualizer
    looks a contiguous id up in either list; for the same reason the stuff map holds every id.
    """
    ordered = sorted(categories, key=lambda c: (not c["isthing"], _sort_key(c["id"])))
    contiguous = {c["id"]: i for i, c in enumerate(ordered)}
    num_things = sum(bool(c["isthing"]) for c in ordered)
    names = [c["name"] for c in ordered]
    colours = _colours(ordered)
    return {
        "thing_classes": names[:num_things],
        "stuff_classes": names,
        "thing_colors": colours[:num_things],
        "stuff_colors": colours,
        "thing_dataset_id_to_contiguous_id": {
            c["id"]: contiguous[c["id"]] for c in ordered[:num_things]
        },
        "stuff_dataset_id_to_contiguous_id": contiguous,
    }


def benchmark_metadata(categories: Categories) -> dict[str, Any]:
    """Metadata in the categories' own order, as Detectron2 has it for COCO and Cityscapes.

    The contiguous id is the place in the list; both name lists hold all classes.
    """
    names = [c["name"] for c in categories]
    colours = _colours(categories)
    contiguous = {c["id"]: i for i, c in enumerate(categories)}
    things = {c["id"] for c in categories if c["isthing"]}
    return {
        "thing_classes": names,
        "stuff_classes": list(names),
        "thing_colors": colours,
        "stuff_colors": list(colours),
        "thing_dataset_id_to_contiguous_id": {k: v for k, v in contiguous.items() if k in things},
        "stuff_dataset_id_to_contiguous_id": {
            k: v for k, v in contiguous.items() if k not in things
        },
    }


def distinct_colours(count: int) -> list[list[int]]:
    """``count`` RGB colours that differ in hue by the golden ratio, hence from their neighbours."""
    golden_ratio = 0.618034
    colours = []
    for i in range(count):
        lightness, saturation = (0.5, 0.85) if i % 2 else (0.65, 0.65)
        rgb = colorsys.hls_to_rgb(i * golden_ratio % 1.0, lightness, saturation)
        colours.append([round(255 * v) for v in rgb])
    return colours


def _colours(categories: Categories) -> list[list[int]]:
    spare = distinct_colours(len(categories))
    return [list(c.get("color") or spare[i]) for i, c in enumerate(categories)]


def _sort_key(category_id: int | str) -> tuple[bool, int | str]:
    """Numbers before texts, each in its own order."""
    return isinstance(category_id, str), category_id
