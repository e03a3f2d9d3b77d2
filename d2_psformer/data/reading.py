"""Reading of the image and the label PNGs of one record, with checks that they fit together."""

import os
from typing import Any

import numpy as np

from ..utils.errors import UserError
from .decoding import open_image
from .images import read_pixels
from .panoptic_png import read_panoptic_png
from .segments import present_ids

Record = dict[str, Any]
IGNORED = 255  # the class of pixels without ground truth in semantic PNGs and maps


def read_image(record: Record, image_format: str) -> np.ndarray:
    """Read the image of a record as uint8 (H, W, 3), upright: an EXIF rotation is applied.

    Args:
        record: has ``file_name``, and ``height`` and ``width`` if known.
        image_format: "RGB" or "BGR".

    Raises:
        UserError: see :func:`read_pixels`, or the image has another size than the record says.
    """
    path = record["file_name"]
    image = read_pixels(path, image_format)
    height, width = image.shape[:2]
    stated = record.get("height", height), record.get("width", width)
    if stated != (height, width):
        raise UserError(
            f"Image '{path}' is {width} x {height} pixels upright, but the data set says "
            f"{stated[1]} x {stated[0]}: correct the JSON, or the image (its EXIF rotation, too)."
        )
    return image


def read_segment_ids(record: Record, image_size: tuple[int, int]) -> np.ndarray:
    """Read the segment ids of a record as int32 (H, W), in the frame of the upright image.

    The PNG must have been drawn on the image as viewers show it, with its EXIF rotation applied.
    One drawn on the pixels as stored has height and width exchanged and is refused; a turn by 180
    degrees or a mirrored image does not show in the sizes.

    Args:
        record: has ``file_name``, ``pan_seg_file_name`` and ``segments_info``.
        image_size: height and width of the upright image.

    Raises:
        UserError: the record has no ground truth, or the PNG cannot be read, has another size than
            the image, or its ids are not those of ``segments_info`` (void, 0, apart).
    """
    for key in ("pan_seg_file_name", "segments_info"):
        if key not in record:
            raise UserError(
                f"The record of '{record['file_name']}' has no '{key}': training and checking "
                "need panoptic ground truth, see d2_psformer.data.register_panoptic."
            )
    path = record["pan_seg_file_name"]
    ids = read_panoptic_png(path)
    _check_size(f"Panoptic PNG '{path}'", ids, record, image_size)
    present, listed = present_ids(ids) - {0}, {segment["id"] for segment in record["segments_info"]}
    if unlisted := sorted(present - listed):
        raise UserError(
            f"Panoptic PNG '{path}' has pixels of segment {unlisted[0]}, which its segments_info "
            "does not list: list it there, or set the pixels to 0 (void)."
        )
    if absent := sorted(listed - present):
        raise UserError(
            f"Panoptic PNG '{path}' has no pixel of segment {absent[0]}, which its segments_info "
            "lists: remove it there, or use the PNG that belongs to it."
        )
    return ids


def check_two_files(record: Record) -> None:
    """Check that the image of a record and its PNG of labels are not one file.

    Raises:
        UserError: they are.
    """
    image = os.path.realpath(record["file_name"])
    for key in ("pan_seg_file_name", "sem_seg_file_name"):
        if key in record and os.path.realpath(record[key]) == image:
            raise UserError(
                f"'{record['file_name']}' is both image and annotation: name the folder of the "
                "images."
            )


def read_class_map(
    record: Record, image_size: tuple[int, int], num_classes: int = IGNORED
) -> np.ndarray:
    """Read the classes of a record's pixels as int32 (H, W), 255 where they are ignored.

    The values of a grey PNG of 8 or 16 bits, or the indices of a palette, are the classes.

    Args:
        record: has ``file_name`` and ``sem_seg_file_name``; where the data set's classes are
            numbered anew, ``sem_seg_classes`` lists the contiguous class of each value from 0 on.
        image_size: height and width of the upright image.
        num_classes: of the data set.

    Raises:
        UserError: the PNG cannot be read, has colours or a value of no class, or has another size
            than the image.
    """
    values = read_label_values(record, image_size)
    classes = np.array(record.get("sem_seg_classes", range(num_classes)), np.int32)
    ignored = values == IGNORED
    for extreme in (int(values.min()), int(values.max(where=~ignored, initial=0))):
        if not 0 <= extreme < len(classes) and extreme != IGNORED:
            raise UserError(
                f"Semantic PNG '{record['sem_seg_file_name']}' has class {extreme}: number the "
                f"classes 0...{len(classes) - 1}, and set ignored pixels to {IGNORED}."
            )
    return np.where(ignored, IGNORED, classes[np.where(ignored, 0, values)])


def read_label_values(record: Record, image_size: tuple[int, int]) -> np.ndarray:
    """Read the values of a grey PNG of 8 or 16 bits, or the indices of a palette: int32 (H, W).

    Args:
        record: has ``file_name`` and ``sem_seg_file_name``.
        image_size: height and width of the upright image.

    Raises:
        UserError: the PNG cannot be read, has colours, or has another size than the image.
    """
    path = record["sem_seg_file_name"]
    what = f"Semantic PNG '{path}'"
    with open_image(path, what) as image:
        values = np.asarray(image)
    if values.ndim != 2 or values.dtype.kind == "f":
        raise UserError(
            f"{what} has mode {image.mode}, not one number a pixel: save the classes as grey PNG "
            "of 8 or 16 bits."
        )
    _check_size(what, values, record, image_size)
    return values.astype(np.int32)


def _check_size(what: str, labels: np.ndarray, record: Record, image_size: tuple[int, int]) -> None:
    if labels.shape != image_size:
        (height, width), (image_height, image_width) = labels.shape, image_size
        turned = labels.shape == image_size[::-1]
        raise UserError(
            f"{what} is {width} x {height} pixels, but image "
            f"'{record['file_name']}' is {image_width} x {image_height}"
            f"{' with its EXIF rotation applied' if turned else ''}: "
            f"{'turn the PNG likewise' if turned else 'one of them is another file'}."
        )
