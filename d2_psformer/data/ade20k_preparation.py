"""ADE20K's two challenges -> panoptic, semantic and instance annotation.

The semantic PNGs are those of the scene-parsing challenge (``annotations/``) with classes from 0 on
and 255 for no class; the instances are those of the instance challenge (``annotations_instance/``).
In the panoptic annotation these lie on top, and stuff is that of the semantic PNGs. A pixel of a
thing class without an instance is void.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from ..utils.errors import UserError
from ..utils.files import atomic_write
from .builtin import ADE20K_CATEGORIES
from .decoding import open_image
from .preparation import Preparation, Segments, write_segments
from .reading import IGNORED

# Both kinds of PNG count classes from 1: semantic ones all 150, instance ones the 100 things.
STUFF_IDS = [c["id"] for c in ADE20K_CATEGORIES if not c["isthing"]]
THING_IDS = [c["id"] for c in ADE20K_CATEGORIES if c["isthing"]]
# A thing's segment id is this times (class + 1), plus the number of the instance; a stuff's is
# class + 1.
INSTANCES_PER_CLASS = 1000

_SEMANTIC, _INSTANCE = "annotations", "annotations_instance"
_DETECTRON2 = "annotations_detectron2"


def source_files(root: Path, image_path: Path) -> list[Path]:
    """The semantic and the instance PNG of one image."""
    split, name = image_path.parent.name, f"{image_path.stem}.png"
    return [root / _SEMANTIC / split / name, root / _INSTANCE / split / name]


def convert_image(root: Path, output: Path, image_path: Path) -> tuple[dict, Segments]:
    """Write the PNGs of one image; returns its entry for ``images``, and its segments."""
    split, stem = image_path.parent.name, image_path.stem
    semantic, instance = (_read(path) for path in source_files(root, image_path))
    _check(stem, semantic, instance)
    thing, number = instance[..., 0], instance[..., 1]
    thing_class = np.array([-1, *THING_IDS])[thing]
    stuff_ids = np.where(np.isin(semantic - 1, STUFF_IDS), semantic, 0)
    thing_ids = INSTANCES_PER_CLASS * (thing_class + 1) + number
    ids = np.where((thing > 0) & (number > 0), thing_ids, stuff_ids)
    segments = [
        {
            "id": i,
            "category_id": (i // INSTANCES_PER_CLASS or i) - 1,
            "isthing": i >= INSTANCES_PER_CLASS,
            "iscrowd": 0,
        }
        for i in np.unique(ids[ids > 0]).tolist()
    ]
    with atomic_write(root / _DETECTRON2 / split / f"{stem}.png") as file:
        labels = np.where(semantic, semantic - 1, IGNORED).astype(np.uint8)
        Image.fromarray(labels).save(file, format="PNG")
    height, width = ids.shape
    image = {"id": stem, "file_name": image_path.name, "height": height, "width": width}
    return image, write_segments(output / f"{stem}.png", stem, ids, segments)


def _check(stem: str, semantic: np.ndarray, instance: np.ndarray) -> None:
    if semantic.ndim != 2 or instance.shape != (*semantic.shape, 3):
        raise UserError(
            f"The annotations of '{stem}' have shapes {semantic.shape} and {instance.shape} "
            "instead of (H, W) and (H, W, 3): unpack both archives anew."
        )
    for folder, classes, known, challenge in (
        (_SEMANTIC, semantic, ADE20K_CATEGORIES, "scene-parsing"),
        (_INSTANCE, instance[..., 0], THING_IDS, "instance"),
    ):
        if classes.max() > len(known):
            raise UserError(
                f"'{stem}.png' of {folder} has class {classes.max()}, outside of "
                f"1...{len(known)}: take the archive of the {challenge} challenge."
            )


def _read(path: Path) -> np.ndarray:
    """int32 (H, W) or (H, W, 3)."""
    with open_image(path, f"'{path}'") as image:
        return np.asarray(image).astype(np.int32)


ADE20K = Preparation(
    folder="ADEChallengeData2016",
    sources={"train": "images/training/*.jpg", "val": "images/validation/*.jpg"},
    source_files=source_files,
    output="ade20k_panoptic_{split}",
    instances="ade20k_instance_{split}.json",
    categories=ADE20K_CATEGORIES,
    convert=convert_image,
)
