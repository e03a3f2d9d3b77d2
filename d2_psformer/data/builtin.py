"""Data sets known by name, beyond those of COCO and Cityscapes panoptic in both backends.

Their folders lie under ``$DETECTRON2_DATASETS`` (default ``./datasets``), laid out as
``datasets/README.md`` says. Names that are registered already are left alone, except Cityscapes'.
All metadata is static: a trained model needs no file of these.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

from ..classes import Classes
from ..d2.data import DatasetCatalog, MetadataCatalog
from .coco_instances import load_instance_records
from .reading import IGNORED
from .registration import register_files, register_with_classes
from .scenes import LEVELS, SCENES_CATEGORIES, scenes_folder
from .semantic import load_semantic_records

# The classes of ADE20K's scene-parsing challenge in its order, with its colours. Things are the 100
# classes of the instance challenge, whose annotation numbers them 1...100 in the same order.
ADE20K_CATEGORIES = json.loads(Path(__file__).with_name("ade20k_categories.json").read_text())


def datasets_root() -> str:
    """Folder of all data sets: ``$DETECTRON2_DATASETS``, or ``datasets``."""
    return os.path.expanduser(os.environ.get("DETECTRON2_DATASETS", "datasets"))


def register_builtin(root: str) -> None:
    """Register ADE20K, Cityscapes' semantic and instance data, and the generated scenes."""
    _register_ade20k(os.path.join(root, "ADEChallengeData2016"))
    _register_cityscapes(os.path.join(root, "cityscapes"))
    for name in map(scenes_folder, LEVELS):
        scenes = os.path.join(root, name)
        for split in ("train", "val"):
            _register_if_free(
                register_with_classes,
                f"{name}_{split}",
                f"{scenes}/{split}",
                f"{scenes}/panoptic_{split}.json",
                f"{scenes}/panoptic_{split}",
                Classes.from_categories(SCENES_CATEGORIES, things_first=True),
            )


def _register_ade20k(folder: str) -> None:
    things = [category for category in ADE20K_CATEGORIES if category["isthing"]]
    for split, split_folder in (("train", "training"), ("val", "validation")):
        images = f"{folder}/images/{split_folder}"
        labels = f"{folder}/annotations_detectron2/{split_folder}"
        _register_if_free(
            register_with_classes,
            f"ade20k_panoptic_{split}",
            images,
            f"{folder}/ade20k_panoptic_{split}.json",
            f"{folder}/ade20k_panoptic_{split}",
            Classes.from_categories(ADE20K_CATEGORIES),
            sem_seg_root=labels,
        )
        _register_if_free(
            register_files,
            f"ade20k_sem_seg_{split}",
            load_semantic_records,
            image_root=images,
            sem_seg_root=labels,
            evaluator_type="sem_seg",
            ignore_label=IGNORED,
            stuff_classes=[category["name"] for category in ADE20K_CATEGORIES],
            stuff_colors=[category["color"] for category in ADE20K_CATEGORIES],
        )
        _register_if_free(
            register_files,
            f"ade20k_instance_{split}",
            load_instance_records,
            image_root=images,
            json_file=f"{folder}/ade20k_instance_{split}.json",
            evaluator_type="coco",
            **Classes.from_categories(things).to_metadata(),
        )


def _register_cityscapes(folder: str) -> None:
    """Register Cityscapes in place of Detectron2's loaders, which need cityscapesscripts."""
    panoptic = MetadataCatalog.get("cityscapes_fine_panoptic_val")
    categories = Classes.from_metadata(panoptic).categories()
    things = [category for category in categories if category["isthing"]]
    for split in ("train", "val"):
        images = f"{folder}/leftImg8bit/{split}"
        semantic, instance = (f"cityscapes_fine_{x}_{split}" for x in ("sem_seg", "instance_seg"))
        for name in (semantic, instance):
            if name in DatasetCatalog.list():
                DatasetCatalog.remove(name)
                MetadataCatalog.remove(name)
        register_files(
            semantic,
            load_semantic_records,
            image_root=images,
            image_suffix="_leftImg8bit.png",
            sem_seg_root=f"{folder}/gtFine/{split}",
            label_suffix="_gtFine_labelTrainIds.png",
            evaluator_type="cityscapes_sem_seg",
            ignore_label=IGNORED,
            thing_classes=[category["name"] for category in things],
            stuff_classes=[category["name"] for category in categories],
            stuff_colors=[category["color"] for category in categories],
        )
        register_files(
            instance,
            load_instance_records,
            image_root=images,
            json_file=f"{folder}/gtFine/cityscapes_instance_{split}.json",
            evaluator_type="coco",
            **Classes.from_categories(things).to_metadata(),
        )


def _register_if_free(register: Callable[..., None], name: str, *args, **metadata) -> None:
    if name not in DatasetCatalog.list():
        register(name, *args, **metadata)
