#!/usr/bin/env python
"""Make COCO-panoptic annotation of ADE20K from its scene-parsing and its instance challenge.

Stuff comes from annotations/, things from annotations_instance/ and on top, as in the panoptic
benchmark; a pixel of a thing class without an instance is void. Written are
ade20k_panoptic_{train,val}/*.png and, when a split is complete, ade20k_panoptic_{train,val}.json.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works before installation too

from d2_psformer.data.ade20k_categories import ADE20K_CATEGORIES
from d2_psformer.data.preparation import Preparation, write_annotation

# Both kinds of PNG count classes from 1: semantic ones all 150, instance ones the 100 things.
STUFF_IDS = [c["id"] for c in ADE20K_CATEGORIES if not c["isthing"]]
THING_IDS = [c["id"] for c in ADE20K_CATEGORIES if c["isthing"]]
# A thing's segment id is this times (class + 1), plus the number of the instance; a stuff's is
# class + 1.
INSTANCES_PER_CLASS = 1000


def convert_image(root: Path, output: Path, image_path: Path) -> tuple[dict, dict]:
    """Write the PNG of one image; returns its entries for ``images`` and ``annotations``."""
    stem, split = image_path.stem, image_path.parent.name
    semantic = read_array(root / "annotations" / split / f"{stem}.png")
    instance = read_array(root / "annotations_instance" / split / f"{stem}.png")
    if semantic.ndim != 2 or instance.shape != (*semantic.shape, 3):
        raise ValueError(
            f"The annotations of '{stem}' have shapes {semantic.shape} and {instance.shape} "
            "instead of (H, W) and (H, W, 3): unpack both archives anew."
        )
    thing, number = instance[..., 0], instance[..., 1]
    if thing.max() > len(THING_IDS):
        raise ValueError(
            f"'{stem}.png' of annotations_instance has a class outside 1...{len(THING_IDS)}: "
            "take the archive of the instance challenge."
        )
    thing_class = np.array([-1, *THING_IDS])[thing]
    stuff_ids = np.where(np.isin(semantic - 1, STUFF_IDS), semantic, 0)
    thing_ids = INSTANCES_PER_CLASS * (thing_class + 1) + number
    ids = np.where((thing > 0) & (number > 0), thing_ids, stuff_ids)
    segments = [
        {"id": i, "category_id": (i // INSTANCES_PER_CLASS or i) - 1, "iscrowd": 0}
        for i in np.unique(ids[ids > 0]).tolist()
    ]
    height, width = ids.shape
    image = {"id": stem, "file_name": image_path.name, "height": height, "width": width}
    return image, write_annotation(output / f"{stem}.png", stem, ids, segments)


def read_array(path: Path) -> np.ndarray:
    """int32 (H, W) or (H, W, 3)."""
    with Image.open(path) as image:
        return np.asarray(image).astype(np.int32)


ADE20K = Preparation(
    folder="ADEChallengeData2016",
    sources={"train": "images/training/*.jpg", "val": "images/validation/*.jpg"},
    output="ade20k_panoptic_{split}",
    categories=ADE20K_CATEGORIES,
    convert=convert_image,
)

if __name__ == "__main__":
    ADE20K.run(__doc__)
