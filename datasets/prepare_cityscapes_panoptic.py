#!/usr/bin/env python
"""Make the panoptic annotation of Cityscapes that Detectron2 expects, from gtFine alone.

Written are gtFine/cityscapes_panoptic_{train,val}/*.png with the JSON of each split, and beside
each *_labelIds.png the *_labelTrainIds.png that Detectron2 looks for. No other package is needed.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works before installation too

from d2_psformer.d2.data import MetadataCatalog
from d2_psformer.data.files import atomic_write
from d2_psformer.data.panoptic_png import read_panoptic_png
from d2_psformer.data.preparation import Preparation, write_annotation

NOT_EVALUATED = 255


def evaluated_categories() -> list[dict]:
    """The 19 evaluated classes with Cityscapes' own ids; their places are the train ids."""
    metadata = MetadataCatalog.get("cityscapes_fine_panoptic_val")
    things = metadata.thing_dataset_id_to_contiguous_id
    contiguous = {**metadata.stuff_dataset_id_to_contiguous_id, **things}
    return [
        {
            "id": category,
            "name": metadata.stuff_classes[place],
            "isthing": int(category in things),
            "color": list(metadata.stuff_colors[place]),
        }
        for category, place in sorted(contiguous.items(), key=lambda item: item[1])
    ]


CATEGORIES = evaluated_categories()
IS_THING = {category["id"]: category["isthing"] for category in CATEGORIES}


def convert_image(_root: Path, output: Path, instance_path: Path) -> tuple[dict, dict]:
    """Write the PNGs of one image; returns its entries for ``images`` and ``annotations``.

    Cityscapes' instance ids (16 bits) serve as segment ids: 1000 class + number, or the bare
    class for stuff and for groups of things that nobody told apart, which are crowds.
    """
    image_id = instance_path.name.removesuffix("_gtFine_instanceIds.png")
    ids = read_panoptic_png(instance_path)
    segments = []
    for number in np.unique(ids).tolist():
        category = number // 1000 or number
        if category in IS_THING:
            crowd = int(number < 1000 and IS_THING[category])
            segments.append({"id": number, "category_id": category, "iscrowd": crowd})
    write_train_ids(instance_path)
    height, width = ids.shape
    file_name = f"{image_id}_leftImg8bit.png"
    image = {"id": image_id, "file_name": file_name, "height": height, "width": width}
    png = output / f"{image_id}_gtFine_panoptic.png"
    return image, write_annotation(png, image_id, ids, segments)


def write_train_ids(instance_path: Path) -> None:
    """Write ``*_labelTrainIds.png`` (uint8, 255 = not evaluated) unless it is there."""
    prefix = str(instance_path).removesuffix("instanceIds.png")
    if Path(f"{prefix}labelTrainIds.png").exists():
        return
    train_ids = np.full(256, NOT_EVALUATED, np.uint8)
    train_ids[list(IS_THING)] = np.arange(len(IS_THING))
    labels = read_panoptic_png(f"{prefix}labelIds.png")
    with atomic_write(f"{prefix}labelTrainIds.png") as file:
        Image.fromarray(train_ids[labels]).save(file, format="PNG")


CITYSCAPES = Preparation(
    folder="cityscapes",
    sources={split: f"gtFine/{split}/*/*_gtFine_instanceIds.png" for split in ("train", "val")},
    output="gtFine/cityscapes_panoptic_{split}",
    categories=CATEGORIES,
    convert=convert_image,
)

if __name__ == "__main__":
    CITYSCAPES.run(__doc__)
