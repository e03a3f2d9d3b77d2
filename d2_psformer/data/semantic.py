"""Semantic data: a folder of images and a folder of PNGs whose pixel values are classes."""

import logging
from typing import Any

from ..classes import Classes
from ..utils.errors import UserError
from ..utils.wording import counted
from .files import IMAGE_EXTENSIONS, FolderIndex

logger = logging.getLogger(__name__)


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
    renumbered = renumbered_values(metadata)
    records = []
    for path in labels.paths(suffix):
        stem = path[: len(path) - len(suffix)]
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
    images = counted(len(records), "image")
    logger.info("Loaded %s with label PNGs from %s", images, labels.folder)
    return records


def renumbered_values(metadata: dict[str, Any]) -> dict[str, list[int]]:
    """The entry ``sem_seg_classes`` of records whose pixel values are no contiguous ids, else {}.

    The values count the category ids of the metadata in their order.
    """
    ids = {value: i for i, value in Classes.from_metadata(metadata).category_ids.items()}
    order = [ids[value] for value in sorted(ids)]
    return {} if order == sorted(order) else {"sem_seg_classes": order}
