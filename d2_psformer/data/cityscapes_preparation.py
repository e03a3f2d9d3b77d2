"""Cityscapes' instance ids -> panoptic, semantic and instance annotation.

The names and contents of the PNGs are those of cityscapesscripts (``createPanopticImgs`` and
``createTrainIdLabelImgs``), which are not needed.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from ..classes import Classes
from ..d2.data import MetadataCatalog
from ..utils.files import atomic_write
from .panoptic_png import read_panoptic_png
from .preparation import Preparation, Segments, write_segments

NOT_EVALUATED = 255
_INSTANCES, _LABELS = "_gtFine_instanceIds.png", "_gtFine_labelIds.png"
_TRAIN_IDS, _IMAGE = "_gtFine_labelTrainIds.png", "_leftImg8bit.png"
# The 19 evaluated classes with Cityscapes' own ids; their places are the train ids.
CATEGORIES = Classes.from_metadata(MetadataCatalog.get("cityscapes_fine_panoptic_val")).categories()
IS_THING = {category["id"]: category["isthing"] for category in CATEGORIES}


def source_files(root: Path, instance_path: Path) -> list[Path]:
    """The semantic PNG and the image that belong to one PNG of instance ids."""
    city = instance_path.parent
    name = instance_path.name.removesuffix(_INSTANCES)
    image = root / "leftImg8bit" / city.parent.name / city.name / f"{name}{_IMAGE}"
    return [city / f"{name}{_LABELS}", image]


def convert_image(root: Path, output: Path, instance_path: Path) -> tuple[dict, Segments]:
    """Write the PNGs of one image; returns its entry for ``images``, and its segments.

    Cityscapes' instance ids (16 bits) serve as segment ids: 1000 class + number, or the bare
    class for stuff and for groups of things that are not separated, which are crowds.
    """
    image_id = instance_path.name.removesuffix(_INSTANCES)
    ids = read_panoptic_png(instance_path)
    segments = []
    for number in np.unique(ids).tolist():
        category = number // 1000 or number
        if category in IS_THING:
            is_thing = IS_THING[category]
            kind = {"isthing": is_thing, "iscrowd": int(number < 1000 and is_thing)}
            segments.append({"id": number, "category_id": category, **kind})
    write_train_ids(source_files(root, instance_path)[0])
    height, width = ids.shape
    image = {"id": image_id, "file_name": image_id + _IMAGE, "height": height, "width": width}
    png = output / f"{image_id}_gtFine_panoptic.png"
    return image, write_segments(png, image_id, ids, segments)


def write_train_ids(label_path: Path) -> None:
    """Write ``*_labelTrainIds.png`` (uint8, 255 = not evaluated) unless it is there."""
    path = label_path.with_name(label_path.name.replace(_LABELS, _TRAIN_IDS))
    if path.exists():
        return
    train_ids = np.full(256, NOT_EVALUATED, np.uint8)
    train_ids[list(IS_THING)] = np.arange(len(IS_THING))
    labels = read_panoptic_png(label_path)
    with atomic_write(path) as file:
        Image.fromarray(train_ids[labels]).save(file, format="PNG")


CITYSCAPES = Preparation(
    folder="cityscapes",
    sources={split: f"gtFine/{split}/*/*{_INSTANCES}" for split in ("train", "val")},
    source_files=source_files,
    output="gtFine/cityscapes_panoptic_{split}",
    instances="gtFine/cityscapes_instance_{split}.json",
    categories=CATEGORIES,
    convert=convert_image,
)
