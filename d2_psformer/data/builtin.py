"""Data sets known by name, beyond COCO and Cityscapes, which come with both backends.

Their folders lie under ``$DETECTRON2_DATASETS`` (default ``./datasets``), laid out as
``datasets/README.md`` says. Names that are registered already are left alone. All metadata is
static: a trained model needs no file of these.
"""

import json
import os
from pathlib import Path

from ..classes import Classes
from ..d2.data import DatasetCatalog
from .registration import register_with_classes
from .scenes import LEVELS, SCENES_CATEGORIES, scenes_folder

# The classes of ADE20K's scene-parsing challenge in its order, with its colours. Things are the 100
# classes of the instance challenge, whose annotation numbers them 1...100 in the same order.
ADE20K_CATEGORIES = json.loads(Path(__file__).with_name("ade20k_categories.json").read_text())


def datasets_root() -> str:
    """Folder of all data sets: ``$DETECTRON2_DATASETS``, or ``datasets``."""
    return os.path.expanduser(os.environ.get("DETECTRON2_DATASETS", "datasets"))


def register_builtin(root: str) -> None:
    """Register ADE20K panoptic and the generated scenes, with files under ``root``."""
    ade20k = os.path.join(root, "ADEChallengeData2016")
    for split, folder in (("train", "training"), ("val", "validation")):
        _register_if_free(
            f"ade20k_panoptic_{split}",
            f"{ade20k}/images/{folder}",
            f"{ade20k}/ade20k_panoptic_{split}.json",
            f"{ade20k}/ade20k_panoptic_{split}",
            Classes.from_categories(ADE20K_CATEGORIES),
        )
    for name in map(scenes_folder, LEVELS):
        scenes = os.path.join(root, name)
        for split in ("train", "val"):
            _register_if_free(
                f"{name}_{split}",
                f"{scenes}/{split}",
                f"{scenes}/panoptic_{split}.json",
                f"{scenes}/panoptic_{split}",
                Classes.from_categories(SCENES_CATEGORIES, things_first=True),
            )


def _register_if_free(name: str, *args) -> None:
    if name not in DatasetCatalog.list():
        register_with_classes(name, *args)
