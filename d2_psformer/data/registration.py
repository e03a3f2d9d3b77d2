"""Registering data sets in COCO-panoptic format with Detectron2's catalogs."""

import os
from typing import Any

from ..d2.config import CfgNode
from ..d2.data import DatasetCatalog, MetadataCatalog
from .category_metadata import check_categories, things_first_metadata
from .coco_panoptic import load_coco_panoptic
from .files import read_json

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
        panoptic_json: JSON with ``images``, ``annotations`` and ``categories``.
        panoptic_folder: folder of the PNGs with segment ids.

    Raises:
        FileNotFoundError: the JSON does not exist.
        ValueError: its categories are unusable, or ``name`` stands for other files already.
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
    content = read_json(files["panoptic_json"])
    categories = content.get("categories") if isinstance(content, dict) else None
    check_categories(categories, files["panoptic_json"])
    register_with_metadata(
        name, images, panoptic_json, panoptic_folder, things_first_metadata(categories)
    )


def register_with_metadata(
    name: str,
    images: StrPath,
    panoptic_json: StrPath,
    panoptic_folder: StrPath,
    class_metadata: dict[str, Any],
) -> None:
    """Register a data set whose classes are known; needs no file before its first use.

    Args:
        class_metadata: from :mod:`.category_metadata`.
    """
    files = _file_metadata(images, panoptic_json, panoptic_folder)
    DatasetCatalog.register(
        name,
        lambda: load_coco_panoptic(
            files["panoptic_json"], files["image_root"], files["panoptic_root"], class_metadata
        ),
    )
    MetadataCatalog.get(name).set(
        evaluator_type="coco_panoptic_seg",
        ignore_label=255,
        label_divisor=1000,
        **files,
        **class_metadata,
    )


def register_from_config(cfg: CfgNode) -> None:
    """Register the ``[name, images, panoptic JSON, PNG folder]`` of ``cfg.DATASETS.REGISTER``.

    Raises:
        ValueError: an entry has another form.
    """
    for entry in cfg.DATASETS.REGISTER:
        if not isinstance(entry, list | tuple) or len(entry) != 4:
            raise ValueError(
                f"DATASETS.REGISTER has the entry {entry!r}: write "
                "[name, image folder, panoptic JSON, PNG folder]."
            )
        register_panoptic(*entry)


def _file_metadata(images: StrPath, panoptic_json: StrPath, panoptic_folder: StrPath) -> dict:
    """The three paths under Detectron2's names."""
    paths = {
        "image_root": images,
        "panoptic_json": panoptic_json,
        "panoptic_root": panoptic_folder,
    }
    return {key: os.path.expanduser(os.fspath(path)) for key, path in paths.items()}
