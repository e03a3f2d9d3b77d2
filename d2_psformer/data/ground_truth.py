"""Ground truth of one image: read from its record, moved along with the image, made to targets."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from pycocotools import mask as mask_util

from ..d2.data import transforms as T
from ..d2.structures import BitMasks, Boxes, Instances, polygons_to_bitmask
from ..utils.errors import UserError
from .label_masks import LabelMasks
from .reading import IGNORED, Record, read_class_map, read_segment_ids
from .segments import label_segments, present_ids, segment_boxes

Size = tuple[int, int]


@dataclass(frozen=True)
class SegmentMap:
    """Segments that do not overlap.

    Attributes:
        labels: (H, W) of :func:`.label_segments`: 0, or the place of the segment + 1.
        classes: of each segment.
        crowds: the last so many segments are crowds: they have a class, but are nothing to find.
    """

    labels: np.ndarray
    classes: Sequence[int]
    crowds: int = 0

    def class_map(self) -> np.ndarray:
        """Class of every pixel, 255 for none: float32 (H, W), which transforms can resize."""
        return np.array([IGNORED, *self.classes], np.float32)[self.labels]

    def targets(self, transforms: T.Transform, size: Size, *, keep_empty: bool) -> dict[str, Any]:
        """``instances`` and ``sem_seg`` on the augmented image, see :class:`.SegmentMapper`.

        Args:
            size: height and width of the augmented image.
            keep_empty: segments that have lost all their pixels stay.
        """
        moved = self._transformed(transforms)
        sem_seg = torch.from_numpy(moved.class_map()).long()
        return {"instances": moved._instances(size, keep_empty), "sem_seg": sem_seg}

    def _transformed(self, transforms: T.Transform) -> "SegmentMap":
        """Apply transforms to the labels through the bytes of each pixel; padding becomes 0.

        Transforms take uint8 images of any channels and move their pixels unchanged, so labels of
        any size stay exact. No segment has the label 255, which padding transforms fill in.
        """
        as_bytes = np.ascontiguousarray(self.labels).view(np.uint8)
        moved = transforms.apply_segmentation(as_bytes.reshape(*self.labels.shape, -1))
        labels = np.ascontiguousarray(moved).view(self.labels.dtype)[..., 0]
        is_segment = (labels > 0) & (labels <= len(self.classes))
        return replace(self, labels=labels * is_segment)

    def _instances(self, size: Size, keep_empty: bool) -> Instances:
        boxes = segment_boxes(self.labels, len(self.classes) - self.crowds)
        kept = np.flatnonzero(keep_empty | (boxes[:, 2] > 0))
        masks = LabelMasks(torch.from_numpy(self.labels), torch.from_numpy(kept + 1))
        return _to_instances(size, self.classes, kept, masks, boxes)


class ClassMap(SegmentMap):
    """The classes of a semantic map, each a segment."""

    def targets(self, transforms: T.Transform, size: Size, *, keep_empty: bool) -> dict[str, Any]:
        """The same of the classes that are left, whatever ``keep_empty``."""
        return super().targets(transforms, size, keep_empty=False)


@dataclass(frozen=True)
class Objects:
    """Objects that may overlap.

    Attributes:
        outlines: of each object, polygons ([x0, y0, x1, y1, ...] each) or a compressed RLE.
        classes: of each object.
        image_size: height and width before augmentation.
    """

    outlines: Sequence[list | dict]
    classes: Sequence[int]
    image_size: Size

    def class_map(self) -> np.ndarray:
        """255 everywhere: objects do not divide the image into classes, any crop of it is good."""
        return np.full(self.image_size, IGNORED, np.float32)

    def targets(self, transforms: T.Transform, size: Size, *, keep_empty: bool) -> dict[str, Any]:
        """``instances`` as :meth:`SegmentMap.targets` gives them."""
        drawn = [_draw(outline, transforms, size) for outline in self.outlines]
        boxes = np.array([segment_boxes(mask, 1)[0] for mask in drawn]).reshape(-1, 4)
        kept = np.flatnonzero(keep_empty | (boxes[:, 2] > 0))
        masks = np.array([drawn[k] for k in kept], bool).reshape(-1, *size)
        masks = BitMasks(torch.from_numpy(masks))
        return {"instances": _to_instances(size, self.classes, kept, masks, boxes)}


def _draw(outline: list | dict, transforms: T.Transform, size: Size) -> np.ndarray:
    """Mask of an object on the augmented image.

    The corners of polygons are moved before they are drawn, as in Detectron2: the mask has the
    precision of the augmented image. They are not cut at its border, which needs shapely and
    changes no more than single pixels.
    """
    if isinstance(outline, dict):
        return transforms.apply_segmentation(mask_util.decode(outline)) == 1  # padding is 255
    corners = [np.array(polygon, np.float64).reshape(-1, 2) for polygon in outline]
    return polygons_to_bitmask([transforms.apply_coords(c).ravel() for c in corners], *size)


def _to_instances(
    size: Size, classes: Sequence[int], kept: np.ndarray, masks: BitMasks, boxes: np.ndarray
) -> Instances:
    """The segments at the places ``kept``; ``masks`` are theirs alone."""
    instances = Instances(size)
    instances.gt_classes = torch.tensor([classes[k] for k in kept], dtype=torch.int64)
    instances.gt_masks = masks
    instances.gt_boxes = Boxes(torch.from_numpy(boxes[kept]).float())
    return instances


def read_ground_truth(
    record: Record, image_size: Size, num_classes: int | None = None
) -> SegmentMap | Objects:
    """Read what a record holds: panoptic, else semantic, else instance ground truth.

    Crowds among objects are left out.

    Args:
        record: has ``file_name``, and ``pan_seg_file_name`` and ``segments_info``, or
            ``sem_seg_file_name``, or ``annotations`` (an empty list if there are no objects).
        image_size: height and width of the upright image.
        num_classes: classes of the model, if known.

    Raises:
        UserError: there is no ground truth, see :func:`read_segment_ids` and
            :func:`read_class_map`, an object cannot be drawn, or the model lacks a class.
    """
    key = next((key for key in _READERS if key in record), None)
    if key is None:
        raise UserError(
            f"The record of '{record['file_name']}' has no ground truth, none of "
            f"{', '.join(_READERS)}: train on a data set with annotations."
        )
    truth = _READERS[key](record, image_size)
    for number in truth.classes:
        if num_classes is not None and not 0 <= number < num_classes:
            path = record["sem_seg_file_name" if key == "sem_seg_file_name" else "file_name"]
            raise UserError(
                f"The ground truth in '{path}' has class {number}, but the model has the classes "
                f"0...{num_classes - 1}: number them as the first of DATASETS.TRAIN does."
            )
    return truth


def has_ground_truth(record: Record) -> bool:
    """True if :func:`read_ground_truth` finds any in the record."""
    return any(key in record for key in _READERS)


def _read_panoptic(record: Record, image_size: Size) -> SegmentMap:
    ids = read_segment_ids(record, image_size)
    segments = sorted(record["segments_info"], key=_is_crowd)  # the order else stays
    labels = label_segments(ids, [s["id"] for s in segments])
    crowds = sum(map(_is_crowd, segments))
    return SegmentMap(labels, [s["category_id"] for s in segments], crowds)


def _is_crowd(segment: dict[str, Any]) -> bool:
    return bool(segment.get("iscrowd", 0))


def _read_semantic(record: Record, image_size: Size) -> ClassMap:
    class_map = read_class_map(record, image_size)
    present = sorted(present_ids(class_map) - {IGNORED})
    return ClassMap(label_segments(class_map, present), present)


def _read_objects(record: Record, image_size: Size) -> Objects:
    objects = [a for a in record["annotations"] if not _is_crowd(a)]
    outlines = [a.get("segmentation") for a in objects]
    for place, outline in enumerate(outlines):
        if not _can_be_drawn(outline, image_size):
            raise UserError(
                f"The segmentation of object {place} of '{record['file_name']}' is neither "
                "polygons of at least three corners nor a compressed RLE of the image's size: "
                "correct it, or leave the object out."
            )
    return Objects(outlines, [a["category_id"] for a in objects], image_size)


def _can_be_drawn(outline: Any, image_size: Size) -> bool:
    if isinstance(outline, dict):
        is_compressed = isinstance(outline.get("counts"), str | bytes)
        return is_compressed and tuple(outline.get("size", ())) == image_size
    is_list = isinstance(outline, list) and len(outline) > 0
    return is_list and all(len(p) >= 6 and len(p) % 2 == 0 for p in outline)


# By the key of a record that has ground truth of the kind; the first that is there counts.
_READERS = {
    "pan_seg_file_name": _read_panoptic,
    "sem_seg_file_name": _read_semantic,
    "annotations": _read_objects,
}
