"""A full check of a registered data set: faults of its files, and counts of its classes."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..classes import Classes
from ..d2.data import DatasetCatalog, MetadataCatalog
from ..utils.errors import UserError, check_known
from ..utils.parallel import map_with_progress
from .class_metadata import align_data_set, class_metadata, has_classes
from .coco_instances import decode_outline
from .panoptic_json import check_segments, repeated
from .reading import IGNORED, Record, read_class_map, read_image, read_segment_ids
from .segments import label_segments, segment_areas


@dataclass
class DatasetReport:
    """The result of :func:`check_dataset`.

    Attributes:
        name: of the data set.
        classes: names and kinds by contiguous id.
        images: the number of records.
        counts: int64 (classes, 4): images with the class, segments, crowds, pixels.
        void: pixels of no segment or class.
        faults: one sentence per faulty image.
    """

    name: str
    classes: Classes
    images: int
    counts: np.ndarray
    void: int = 0
    faults: list[str] = field(default_factory=list)

    def table(self) -> str:
        """The counts for people, one row per class; pixels as a share of all."""
        names = self.classes.names
        width = max(len(name) for name in [*names, "all classes"])
        all_pixels = max(int(self.counts[:, 3].sum()) + self.void, 1)
        header = f"{'class':{width}s} | {'kind':5s} {'images':>8s} {'segments':>9s} {'crowds':>7s}"
        header += f" {'pixels':>7s}"

        def row(name: str, kind: str, counts: np.ndarray) -> str:
            images, segments, crowds, pixels = (int(c) for c in counts)
            share = f"{100 * pixels / all_pixels:6.2f}%"
            return f"{name:{width}s} | {kind:5s} {images:8d} {segments:9d} {crowds:7d} {share}"

        rows = [
            row(name, "thing" if i in self.classes.thing_ids else "stuff", self.counts[i])
            for i, name in enumerate(names)
        ]
        total = self.counts.sum(axis=0)
        total[0] = self.images
        rows += [row("void", "", [0, 0, 0, self.void]), row("all classes", "", total)]
        return "\n".join([header, "-" * len(header), *rows])


@dataclass(frozen=True)
class _Checker:
    """Checks one record; passed to worker processes."""

    class_ids: frozenset[int]
    num_classes: int

    def __call__(self, record: Record) -> tuple[np.ndarray, int, str]:
        """Returns counts (classes, 4), void pixels, and the first fault or ''."""
        counts, void = np.zeros((self.num_classes, 4), np.int64), 0
        count = self._count_panoptic
        if "pan_seg_file_name" not in record and "sem_seg_file_name" in record:
            count = self._count_semantic
        elif "annotations" in record:
            count = self._count_instances
        try:
            size = read_image(record, "RGB").shape[:2]
            void = count(record, size, counts)
            counts[:, 0] = counts[:, 1] > 0
        except UserError as error:
            return counts, void, str(error)
        return counts, void, ""

    def _count_panoptic(self, record: Record, size: tuple[int, int], counts: np.ndarray) -> int:
        segments = record.get("segments_info", [])
        check_segments(segments, f"'{record['file_name']}'")
        for segment in segments:
            self._check_class(segment, f"Segment {segment['id']}", record)
        ids = read_segment_ids(record, size)
        areas = segment_areas(label_segments(ids, [s["id"] for s in segments]), len(segments))
        for segment, area in zip(segments, areas, strict=True):
            _check_area(record, segment, int(area))
            counts[segment["category_id"], 1:] += 1, int(segment.get("iscrowd", 0)), area
        return ids.size - int(areas.sum())

    def _count_semantic(self, record: Record, size: tuple[int, int], counts: np.ndarray) -> int:
        labels = read_class_map(record, size, self.num_classes)
        areas = np.bincount(labels[labels != IGNORED], minlength=self.num_classes)
        counts[:, 1], counts[:, 3] = areas > 0, areas
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
            counts[annotation["category_id"], 1:] += 1, annotation.get("iscrowd", 0), area
            covered |= mask
        return covered.size - np.count_nonzero(covered)

    def _check_class(self, entry: dict[str, Any], what: str, record: Record) -> None:
        if entry["category_id"] not in self.class_ids:
            raise UserError(
                f"{what} of '{record['file_name']}' has contiguous class "
                f"{entry['category_id']}, which the metadata does not have."
            )


def check_dataset(name: str, *, workers: int = 0) -> DatasetReport:
    """Read every image and annotation of a registered data set, with a progress bar.

    Checked are: files exist and can be decoded, sizes agree, ids are unique, classes are in the
    metadata. Panoptic: segment ids and areas of PNG and ``segments_info`` agree. Semantic: every
    value of a label PNG is a class or ignored. Instances: every mask has a pixel.

    Args:
        workers: processes to share the work; 0 does it here.

    Raises:
        UserError: no data set has this name, or its JSON cannot be read at all.
    """
    check_known("Data set", name, DatasetCatalog.list())
    if has_classes(name):
        align_data_set(name, class_metadata(name), "its registration")
    records = DatasetCatalog.get(name)
    classes = Classes.from_metadata(MetadataCatalog.get(name))
    counts = np.zeros((classes.num_classes, 4), np.int64)
    report = DatasetReport(name, classes, len(records), counts)
    for image_id in repeated(r.get("image_id", r["file_name"]) for r in records):
        report.faults.append(f"Image id {image_id!r} is there twice: give each its own.")
    checker = _Checker(frozenset(classes.thing_ids + classes.stuff_ids), classes.num_classes)
    for counts, void, fault in map_with_progress(
        checker, records, workers=workers, description=f"checking {name}"
    ):
        report.counts += counts
        report.void += void
        if fault:
            report.faults.append(fault)
    return report


def _check_area(record: Record, segment: dict[str, Any], area: int) -> None:
    if segment.get("area", area) != area:
        raise UserError(
            f"Segment {segment['id']} of '{record['pan_seg_file_name']}' has {area} pixels, but "
            f"its segments_info says area {segment['area']}: correct one of them."
        )
