"""Registering data sets in COCO-panoptic format with Detectron2's catalogs."""

import os
from dataclasses import dataclass
from typing import Any

from ..classes import Classes
from ..d2.config import CfgNode
from ..d2.data import DatasetCatalog, MetadataCatalog
from .coco_panoptic import load_coco_panoptic
from .panoptic_json import check_categories, read_panoptic_json

StrPath = str | os.PathLike


def register_panoptic(
    name: str, images: StrPath, panoptic_json: StrPath, panoptic_folder: StrPath
) -> None:
    """Register anyone's COCO-panoptic data under ``name``; all metadata comes from the JSON.

    The metadata is there at once, the records are read when the data set is first used. Doing it
    again with the same files changes nothing.

    Args:
        name: what stands in ``DATASETS.TRAIN`` or ``DATASETS.TEST``.
        images: folder of the images, with any of the usual extensions.
        panoptic_json: JSON with ``images``, ``annotations`` and ``categories``. Data without
            ground truth has no ``annotations``, and perhaps no categories of panoptic kind: then
            its classes are those of the training data.
        panoptic_folder: folder of the PNGs with segment ids; "" without ground truth.

    Raises:
        FileNotFoundError: the JSON does not exist.
        ValueError: it is of another format, or ``name`` stands for other files already.
    """
    files = _file_metadata(images, panoptic_json, panoptic_folder)
    if name in DatasetCatalog.list():
        known = MetadataCatalog.get(name)
        if any(known.get(key) != path for key, path in files.items()):
            raise ValueError(
                f"Data set '{name}' is already registered with other files "
                f"(JSON '{known.get('panoptic_json')}'): choose another name."
            )
        return
    content = read_panoptic_json(files["panoptic_json"])
    classes = None
    if not _has_images_alone(content):
        check_categories(content.get("categories"), f"'{files['panoptic_json']}'")
        classes = Classes.from_categories(content["categories"], things_first=True)
    register_with_metadata(name, images, panoptic_json, panoptic_folder, classes)


def register_with_metadata(
    name: str,
    images: StrPath,
    panoptic_json: StrPath,
    panoptic_folder: StrPath,
    classes: Classes | None,
) -> None:
    """Register a data set whose classes are known; needs no file before its first use.

    Args:
        classes: None for images alone.
    """
    DatasetCatalog.register(name, PanopticRecords(name))
    MetadataCatalog.get(name).set(
        evaluator_type="coco_panoptic_seg",
        ignore_label=255,
        label_divisor=1000,
        **_file_metadata(images, panoptic_json, panoptic_folder),
        **(classes.to_metadata() if classes else {}),
    )


@dataclass(frozen=True)
class PanopticRecords:
    """Loads the records of a data set from the files, and with the classes, that the catalog has.

    Classes that are numbered anew later (:mod:`.class_metadata`) need no other loader.
    """

    name: str

    def __call__(self) -> list[dict[str, Any]]:
        known = MetadataCatalog.get(self.name).as_dict()
        return load_coco_panoptic(
            known["panoptic_json"], known["image_root"], known["panoptic_root"], known
        )


def register_from_config(cfg: CfgNode) -> None:
    """Register the ``[name, images, panoptic JSON, PNG folder]`` of ``cfg.DATASETS.REGISTER``.

    Without ground truth the PNG folder is "".

    Raises:
        ValueError: an entry has another form.
    """
    for entry in cfg.DATASETS.REGISTER:
        if not isinstance(entry, list | tuple) or len(entry) != 4:
            raise ValueError(
                f"DATASETS.REGISTER has the entry {entry!r}: write "
                "[name, image folder, panoptic JSON, PNG folder or '' for none]."
            )
        register_panoptic(*entry)


def _has_images_alone(content: dict[str, Any]) -> bool:
    """COCO's test sets list images, and at most the categories of its detection task."""
    if "annotations" in content or "images" not in content:
        return False
    categories = content.get("categories", [])
    return isinstance(categories, list) and all(
        isinstance(category, dict) and "isthing" not in category for category in categories
    )


def _file_metadata(images: StrPath, panoptic_json: StrPath, panoptic_folder: StrPath) -> dict:
    """The three paths under Detectron2's names."""
    paths = {
        "image_root": images,
        "panoptic_json": panoptic_json,
        "panoptic_root": panoptic_folder,
    }
    return {key: os.path.expanduser(os.fspath(path)) for key, path in paths.items()}
