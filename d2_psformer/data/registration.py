"""Registration of panoptic, semantic and instance data with Detectron2's catalogs."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..classes import Classes
from ..d2.config import CfgNode
from ..d2.data import DatasetCatalog, MetadataCatalog
from ..utils.errors import UserError
from ..utils.wording import counted
from .coco_instances import instance_classes, load_instance_records
from .coco_panoptic import PanopticFiles, load_records
from .reading import IGNORED
from .semantic import load_semantic_records, renumbered_values

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
    if _is_registered(name, **_file_metadata(images, panoptic_json, panoptic_folder)):
        return
    files = PanopticFiles(os.path.expanduser(panoptic_json))
    classes = None
    if not _has_images_alone(files.content):
        classes = Classes.from_categories(files.categories, things_first=True)
    register_with_classes(name, images, panoptic_json, panoptic_folder, classes)


def register_semantic(
    name: str, images: StrPath, label_folder: StrPath, classes: Sequence[str]
) -> None:
    """Register anyone's semantic data: one grey PNG per image, whose values are classes.

    Args:
        name: to be used in ``DATASETS.TRAIN`` or ``DATASETS.TEST``.
        images: folder of the images, with any of the usual extensions.
        label_folder: folder of the PNGs, named as the images are; images without one are left out.
        classes: the names of the values 0, 1, ...; 255 is a pixel of no class.

    Raises:
        UserError: the names are no texts that differ, both folders are the same, or ``name`` is
            registered already with other files or names.
    """
    files = {"image_root": _path(images), "sem_seg_root": _path(label_folder)}
    if not classes or not all(isinstance(c, str) and c for c in classes):
        raise UserError(f"Data set '{name}' has the classes {classes!r}: write a list of names.")
    if again := [c for c, count in Counter(classes).items() if count > 1]:
        raise UserError(f"Data set '{name}' has two classes '{again[0]}': give each its own name.")
    if not 1 < len(classes) <= IGNORED:  # of one class every pixel would be
        raise UserError(
            f"Data set '{name}' has {counted(len(classes), 'class')}: 2...{IGNORED} are possible, "
            f"as each pixel is one of them, or {IGNORED} for none; give the background a class, "
            "too."
        )
    if len({*files.values()}) == 1:
        raise UserError(
            f"Data set '{name}' has images and labels in one folder: give each its own."
        )
    files["label_names"] = [*classes]  # stuff_classes are sorted anew where data sets are aligned
    if not _is_registered(name, **files):
        register_files(
            name,
            load_semantic_records,
            evaluator_type="sem_seg",
            ignore_label=IGNORED,
            stuff_classes=[*classes],
            **files,
        )


def register_instances(name: str, images: StrPath, json_file: StrPath) -> None:
    """Register anyone's COCO instance data, whose classes come from the JSON at once.

    Args:
        name: to be used in ``DATASETS.TRAIN`` or ``DATASETS.TEST``.
        images: folder of the images, with any of the usual extensions.
        json_file: JSON with ``images``, ``annotations`` and ``categories``.

    Raises:
        UserError: the JSON is missing or of another format, or ``name`` is registered already with
            other files.
    """
    files = {"image_root": _path(images), "json_file": _path(json_file)}
    if not _is_registered(name, **files):
        classes = instance_classes(files["json_file"]).to_metadata()
        register_files(name, load_instance_records, evaluator_type="coco", **files, **classes)


def register_with_classes(
    name: str,
    images: StrPath,
    panoptic_json: StrPath,
    panoptic_folder: StrPath,
    classes: Classes | None,
    **metadata: Any,
) -> None:
    """Register a data set whose classes are known; needs no file before its first use.

    Args:
        classes: None for images without panoptic classes.
        metadata: more of it; ``sem_seg_root`` is a folder of label PNGs, by which semantic results
            are evaluated.
    """
    register_files(
        name,
        _load_panoptic_records,
        evaluator_type="coco_panoptic_seg",
        ignore_label=255,
        label_divisor=1000,
        **_file_metadata(images, panoptic_json, panoptic_folder),
        **(classes.to_metadata() if classes else {}),
        **metadata,
    )


def register_files(
    name: str, load: Callable[[dict[str, Any]], list[dict[str, Any]]], **metadata: Any
) -> None:
    """Register a data set whose records ``load`` reads, given all its metadata."""
    DatasetCatalog.register(name, CatalogRecords(name, load))
    MetadataCatalog.get(name).set(**metadata)


def register_records(name: str, records: list[dict[str, Any]], **metadata: Any) -> str:
    """Register records in memory in place of what has this name; returns the name."""
    if name in DatasetCatalog.list():
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    DatasetCatalog.register(name, lambda: records)
    MetadataCatalog.get(name).set(**metadata)
    return name


@dataclass(frozen=True)
class CatalogRecords:
    """Loads the records of a data set from the files, and with the classes, that the catalog has.

    Classes that are numbered anew later (:mod:`.class_metadata`) need no other loader.
    """

    name: str
    load: Callable[[dict[str, Any]], list[dict[str, Any]]]

    def __call__(self) -> list[dict[str, Any]]:
        return self.load(MetadataCatalog.get(self.name).as_dict())


def register_from_config(cfg: CfgNode) -> None:
    """Register the entries of ``cfg.DATASETS.REGISTER``, whose form says what kind of data it is.

    * ``[name, images, panoptic JSON, PNG folder]``, the last one "" without ground truth;
    * ``[name, images, label folder, [class names]]``;
    * ``[name, images, instance JSON]``.

    Raises:
        UserError: an entry has another form.
    """
    entries = cfg.DATASETS.REGISTER
    for entry in entries if isinstance(entries, list | tuple) else [entries]:
        parts = [*entry] if isinstance(entry, list | tuple) else []
        kinds = ["names" if isinstance(part, list | tuple) else type(part) for part in parts]
        if parts and not parts[0]:
            raise UserError(f"DATASETS.REGISTER has the entry {entry!r} without a name: give one.")
        if kinds == [str, str, str, str]:
            register_panoptic(*parts)
        elif kinds == [str, str, str, "names"]:
            register_semantic(*parts)
        elif kinds == [str, str, str]:
            register_instances(*parts)
        else:
            raise UserError(
                f"DATASETS.REGISTER has the entry {entry!r}: write [name, image folder, panoptic "
                "JSON, PNG folder or '' for none], [name, image folder, label folder, [class "
                "names]] or [name, image folder, instance JSON]."
            )


def _load_panoptic_records(known: dict[str, Any]) -> list[dict[str, Any]]:
    files = PanopticFiles(known["panoptic_json"], known["panoptic_root"])
    records = load_records(files, known["image_root"], known)
    if folder := known.get("sem_seg_root"):  # label PNGs beside the panoptic ones
        more = renumbered_values(known)
        for record in records:
            name = os.path.splitext(os.path.basename(record["file_name"]))[0]
            record.update(more, sem_seg_file_name=os.path.join(folder, f"{name}.png"))
    return records


def _is_registered(name: str, **metadata: Any) -> bool:
    """True if this name has these values already.

    Raises:
        UserError: it has others.
    """
    if name not in DatasetCatalog.list():
        return False
    known = MetadataCatalog.get(name)
    for key, value in metadata.items():
        if known.get(key, None) != value:
            raise UserError(
                f"Data set '{name}' is already registered with other files or classes ({key} "
                f"{known.get(key, None)!r}): choose another name."
            )
    return True


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
    paths = map(_path, (images, panoptic_json, panoptic_folder))
    return dict(zip(("image_root", "panoptic_json", "panoptic_root"), paths, strict=True))


def _path(path: StrPath) -> str:
    return os.path.expanduser(os.fspath(path))
