"""Semantic data: a folder of images and a folder of PNGs whose pixel values are classes."""

import logging
from typing import Any

import numpy as np
from PIL import Image

from ..classes import Classes
from ..utils.errors import UserError
from .files import IMAGE_EXTENSIONS, FolderIndex
from .panoptic_png import decoding

logger = logging.getLogger(__name__)

IGNORE_LABEL = 255
_MODES = ("1", "L", "P", "I;16", "I")  # Pillow's modes whose values are integers of one channel


def load_semantic_records(metadata: dict[str, Any]) -> list[dict[str, Any]]:
    """Pair every label PNG with its image.

    Args:
        metadata: ``image_root``, ``sem_seg_root`` and the classes; ``label_suffix`` (default
            ".png") and ``image_suffix`` (default ".png", other extensions fit too) are what
            follows the name that the two files have in common.

    Returns:
        One dict per PNG in the order of their paths: ``file_name``, ``image_id`` (the path below
        the folder without the suffix) and ``sem_seg_file_name``. Where pixel values are not the
        contiguous ids, ``sem_seg_classes`` lists the contiguous id of each value from 0 on.

    Raises:
        UserError: a folder or an image is missing, or there is no PNG.
    """
    images, labels = FolderIndex(metadata["image_root"]), FolderIndex(metadata["sem_seg_root"])
    suffix, image_suffix = (metadata.get(f"{k}_suffix", ".png") for k in ("label", "image"))
    ids = {value: i for i, value in Classes.from_metadata(metadata).category_ids.items()}
    order = [ids[value] for value in sorted(ids)]
    renumbered = {} if order == sorted(order) else {"sem_seg_classes": order}
    records = []
    for path in labels.paths(suffix):
        stem = path.removesuffix(suffix)
        image = images.find(stem + image_suffix, IMAGE_EXTENSIONS)
        if image is None:
            raise UserError(
                f"Label PNG '{path}' of '{labels.folder}' has no image '{stem + image_suffix}' "
                f"(or of another extension) in '{images.folder}': add it or remove the PNG."
            )
        label = f"{labels.folder}/{path}"
        record = {"file_name": image, "image_id": stem, "sem_seg_file_name": label}
        records.append(record | renumbered)
    if not records:
        raise UserError(
            f"Folder '{labels.folder}' has no file '*{suffix}': name the folder of the label PNGs, "
            "or make them as datasets/README.md says."
        )
    logger.info("Loaded %d images with label PNGs from %s", len(records), labels.folder)
    return records


def read_semantic_labels(
    record: dict[str, Any], num_classes: int, ignore_label: int = IGNORE_LABEL
) -> np.ndarray:
    """Read the contiguous class of every pixel, in the frame of the upright image.

    Args:
        record: has ``sem_seg_file_name``, and ``sem_seg_classes`` where classes are renumbered.
        num_classes: of the data set.
        ignore_label: the value in the file, and in the result, of pixels of no class.

    Returns:
        int64 (H, W).

    Raises:
        UserError: the file is missing or damaged, has several channels, or a value of no class.
    """
    path = record["sem_seg_file_name"]
    with decoding(f"Label PNG '{path}'"), Image.open(path) as image:
        if image.mode not in _MODES:
            raise UserError(
                f"Label PNG '{path}' is an image of mode {image.mode}: save one grey value (or "
                "index of a palette) per pixel, the number of its class."
            )
        labels = np.asarray(image).astype(np.int64)
    classes = record.get("sem_seg_classes", range(num_classes))
    ignored = labels == ignore_label
    largest = int(labels.max(where=~ignored, initial=0))
    if largest >= len(classes):
        raise UserError(
            f"Label PNG '{path}' has the value {largest}, but the data set has {len(classes)} "
            f"classes, 0...{len(classes) - 1}, and {ignore_label} for no class: correct the PNG "
            "or the names of the classes."
        )
    return np.where(ignored, ignore_label, np.array(classes)[np.where(ignored, 0, labels)])
