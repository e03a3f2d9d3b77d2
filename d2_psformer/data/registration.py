"""Registration of data sets in COCO-panoptic format with Detectron2's catalogs."""

import os
from dataclasses import dataclass
from typing import Any

from ..classes import Classes
from ..d2.config import CfgNode
from ..d2.data import DatasetCatalog, MetadataCatalog
from ..utils.errors import UserError
from .coco_panoptic import PanopticFiles, load_records

StrPath = str | os.PathLike


def register_panoptic(
    name: str, images: StrPath, panoptic_json: StrPath, panoptic_folder: StrPath
) -> None:
    """Register anyone's COCO-panoptic data under ``name``; all metadata comes from the JSON.

    The metadata is there at once, the records are read when the data set is first used. Doing it
    again with the same files changes nothing.

    Args:
        name: to be used in ``DATASETS.TRAIN`` or ``DATASETS.TEST``.
        images: folder of the images, with any of the usual extensions.
        panoptic_json: JSON with ``images``, ``annotations`` and ``categories``. Data without
            ground truth has no ``annotations``, and perhaps no categories of panoptic kind: then
            its classes are those of the training data.
        panoptic_folder: folder of the PNGs with segment ids; "" without ground truth.

    Raises:
        UserError: the JSON is missing or of another format, or ``name`` is registered already with
            other files.
    """
    if name in DatasetCatalog.list():
        known = MetadataCatalog.get(name)
        files = _file_metadata(images, panoptic_json, panoptic_folder)
        if any(known.get(key) != path for key, path in files.items()):
            raise UserError(
                f"Data set '{name}' is already registered with other files "
                f"(JSON '{known.get('panoptic_json')}'): choose another name."
            )
        return
    files = PanopticFiles(os.path.expanduser(panoptic_json))
    classes = None
    if not _has_images_alone(files.content):
        classes = Classes.from_categories(files.categories, things_first=True)
    register_with_classes(name, images, panoptic_json, panoptic_folder, classes)


def register_with_classes(
    name: str,
    images: StrPath,
    panoptic_json: StrPath,
    panoptic_folder: StrPath,
    classes: Classes | None,
) -> None:
    """Register a data set whose classes are known; needs no file before its first use.

    Args:
        classes: None for images without panoptic classes.
    """
    DatasetCatalog.register(name, PanopticRecords(name))
    MetadataCatalog.get(name).set(
        evaluator_type="coco_panoptic_seg",
        ignore_label=255,
        label_divisor=1000,
        **_file_metadata(images, panoptic_json, panoptic_folder),
        **(classes.to_metadata() if classes else {}),
    )


def register_records(name: str, records: list[dict[str, Any]], **metadata: Any) -> str:
    """Register records in memory in place of what has this name; returns the name."""
    if name in DatasetCatalog.list():
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    DatasetCatalog.register(name, lambda: records)
    MetadataCatalog.get(name).set(**metadata)
    return name


@dataclass(frozen=True)
class PanopticRecords:
    """Loads the records of a data set from the files, and with the classes, that the catalog has.

    Classes that are numbered anew later (:mod:`.class_metadata`) need no other loader.
    """

    name: str

    def __call__(self) -> list[dict[str, Any]]:
        known = MetadataCatalog.get(self.name).as_dict()
        files = PanopticFiles(known["panoptic_json"], known["panoptic_root"])
        return load_records(files, known["image_root"], known)


def register_from_config(cfg: CfgNode) -> None:
    """Register the ``[name, images, panoptic JSON, PNG folder]`` of ``cfg.DATASETS.REGISTER``.

    Without ground truth the PNG folder is "".

    Raises:
        UserError: an entry has another form.
    """
    for entry in cfg.DATASETS.REGISTER:
        is_list = isinstance(entry, list | tuple) and len(entry) == 4
        if not is_list or not all(isinstance(part, str) for part in entry):
            raise UserError(
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
    paths = (images, panoptic_json, panoptic_folder)
    keys = ("image_root", "panoptic_json", "panoptic_root")
    return {k: os.path.expanduser(os.fspath(p)) for k, p in zip(keys, paths, strict=True)}
