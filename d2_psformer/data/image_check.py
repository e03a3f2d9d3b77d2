"""The check of one image and its annotation."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..utils.errors import UserError
from .coco_instances import decode_outline
from .copies import Fingerprint, fingerprint
from .images import is_rotated
from .panoptic_json import check_segments
from .reading import IGNORED, Record, check_two_files, read_class_map, read_image, read_segment_ids
from .segments import label_segments, segment_areas


@dataclass
class ImageCheck:
    """What there is to know of one image.

    Attributes:
        counts: int64 (N, 4), of the N classes that it shows: class, segments, crowds, pixels.
        void: pixels of no segment or class.
        kind, fault: of the first fault, see :class:`.Finding`; "" if there is none.
        size: height and width of the upright image; None if it cannot be read.
        rotated: an EXIF tag turns or mirrors it.
        print: None if it cannot be read.
    """

    counts: np.ndarray
    void: int = 0
    kind: str = ""
    fault: str = ""
    size: tuple[int, int] | None = None
    rotated: bool = False
    print: Fingerprint | None = None


def kind_of(record: Record) -> str:
    """The ground truth of a record: "panoptic", "semantic" or "instance"."""
    if "pan_seg_file_name" not in record and "sem_seg_file_name" in record:
        return "semantic"
    return "instance" if "annotations" in record else "panoptic"


@dataclass(frozen=True)
class ImageChecker:
    """Checks one record; passed to worker processes."""

    class_ids: frozenset[int]
    num_classes: int

    def __call__(self, record: Record) -> ImageCheck:
        counts = np.zeros((self.num_classes, 3), np.int64)
        result = ImageCheck(np.zeros((0, 4), np.int64))
        count = {
            "panoptic": self._count_panoptic,
            "semantic": self._count_semantic,
            "instance": self._count_instances,
        }[kind_of(record)]
        try:
            result.kind = "image"
            pixels = read_image(record, "RGB")
            result.size, result.print = pixels.shape[:2], fingerprint(pixels)
            result.rotated = is_rotated(record["file_name"])
            result.kind = "annotation"
            check_two_files(record)
            result.void = count(record, result.size, counts)
            shown = np.flatnonzero(counts[:, 0])
            result.counts = np.column_stack([shown, counts[shown]])
            result.kind = ""
        except UserError as error:
            result.fault = str(error)
        return result

    def _count_panoptic(self, record: Record, size: tuple[int, int], counts: np.ndarray) -> int:
        segments = record.get("segments_info", [])
        check_segments(segments, f"'{record['file_name']}'")
        for segment in segments:
            self._check_class(segment, f"Segment {segment['id']}", record)
        ids = read_segment_ids(record, size)
        areas = segment_areas(label_segments(ids, [s["id"] for s in segments]), len(segments))
        for segment, area in zip(segments, areas, strict=True):
            _check_area(record, segment, int(area))
            counts[segment["category_id"]] += 1, int(segment.get("iscrowd", 0)), area
        return ids.size - int(areas.sum())

    def _count_semantic(self, record: Record, size: tuple[int, int], counts: np.ndarray) -> int:
        labels = read_class_map(record, size, self.num_classes)
        areas = np.bincount(labels[labels != IGNORED], minlength=self.num_classes)
        counts[:, 0], counts[:, 2] = areas > 0, areas
        return labels.size - int(areas.sum())

    def _count_instances(self, record: Record, size: tuple[int, int], counts: np.ndarray) -> int:
        covered = np.zeros(size, bool)
        for place, annotation in enumerate(record["annotations"]):
            what = f"annotations[{place}]"
            self._check_class(annotation, what, record)
            mask = decode_outline(annotation["segmentation"], size)
            if not mask.any():
                raise UserError(
                    f"{what} of '{record['file_name']}' has no pixel in the image: correct its "
                    "outline or leave it out."
                )
            area = np.count_nonzero(mask)
            counts[annotation["category_id"]] += 1, annotation.get("iscrowd", 0), area
            covered |= mask
        return covered.size - np.count_nonzero(covered)

    def _check_class(self, entry: dict[str, Any], what: str, record: Record) -> None:
        if entry["category_id"] not in self.class_ids:
            raise UserError(
                f"{what} of '{record['file_name']}' has contiguous class "
                f"{entry['category_id']}, which the metadata does not have."
            )


def _check_area(record: Record, segment: dict[str, Any], area: int) -> None:
    if segment.get("area", area) != area:
        raise UserError(
            f"Segment {segment['id']} of '{record['pan_seg_file_name']}' has {area} pixels, but "
            f"its segments_info says area {segment['area']}: correct one of them."
        )
