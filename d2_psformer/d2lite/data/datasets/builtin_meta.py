"""Categories of COCO panoptic and of Cityscapes, as metadata."""

import json
from pathlib import Path
from typing import Any


def _read(name: str) -> list[dict[str, Any]]:
    return json.loads((Path(__file__).parent / name).read_text())


# Each has ``id``, ``name``, ``isthing`` (0 or 1), ``color`` (RGB), Cityscapes also ``trainId``.
# https://github.com/cocodataset/panopticapi, panoptic_coco_categories.json
COCO_CATEGORIES = _read("coco_categories.json")
# https://github.com/mcordts/cityscapesScripts, helpers/labels.py
CITYSCAPES_CATEGORIES = _read("cityscapes_categories.json")


def instances_metadata(categories: list[dict[str, Any]]) -> dict[str, Any]:
    """Things alone: contiguous ids count the things in their order."""
    things = [category for category in categories if category["isthing"]]
    return {
        "thing_dataset_id_to_contiguous_id": {c["id"]: i for i, c in enumerate(things)},
        "thing_classes": [c["name"] for c in things],
        "thing_colors": [c["color"] for c in things],
    }


def panoptic_metadata(categories: list[dict[str, Any]]) -> dict[str, Any]:
    """Things and stuff: contiguous ids count all categories in their order.

    As in Detectron2, names and colours of *all* categories stand under ``thing_*`` and under
    ``stuff_*``; only the two id maps separate things from stuff.
    """
    ids = {c["id"]: i for i, c in enumerate(categories)}
    names = [c["name"] for c in categories]
    colors = [c["color"] for c in categories]
    isthing = {c["id"]: c["isthing"] for c in categories}
    return {
        "thing_classes": names,
        "thing_colors": colors,
        "stuff_classes": names,
        "stuff_colors": colors,
        "thing_dataset_id_to_contiguous_id": {k: i for k, i in ids.items() if isthing[k]},
        "stuff_dataset_id_to_contiguous_id": {k: i for k, i in ids.items() if not isthing[k]},
    }
