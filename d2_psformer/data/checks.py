"""A full check of registered data sets: faults of their files, and counts of their classes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..classes import Classes
from ..d2.data import DatasetCatalog, MetadataCatalog
from ..utils.errors import UserError, check_known
from ..utils.parallel import map_with_progress
from ..utils.wording import counted
from .class_metadata import align_data_set, class_metadata, has_classes
from .copies import CopyIndex
from .findings import Finding, several
from .image_check import ImageCheck, ImageChecker
from .missing_files import missing_files, unused_images
from .panoptic_json import repeated
from .set_findings import class_findings, image_findings


@dataclass
class DatasetReport:
    """The result of :func:`check_dataset`.

    Attributes:
        name: of the data set.
        classes: names and kinds by contiguous id.
        files: paths of the images.
        counts: int64 (classes, 4): images with the class, segments, crowds, pixels.
        void: pixels of no segment or class.
        findings: errors first.
        checks: of each image.
    """

    name: str
    classes: Classes
    files: list[str]
    counts: np.ndarray
    void: int = 0
    findings: list[Finding] = field(default_factory=list)
    checks: list[ImageCheck] = field(default_factory=list)

    @property
    def images(self) -> int:
        return len(self.files)

    @property
    def faults(self) -> list[str]:
        """The sentences of the errors."""
        return [f.sentence for f in self.findings if f.severity == "error"]

    def statistics(self) -> dict[str, Any]:
        """Least, median and most of the images' sizes and segments, for people and programs."""
        sizes = np.array([check.size for check in self.checks if check.size]).reshape(-1, 2)
        segments = [int(c.counts[:, 1].sum()) for c in self.checks if not c.fault]
        return {
            "images": self.images,
            "height": _spread(sizes[:, 0]),
            "width": _spread(sizes[:, 1]),
            "segments an image": _spread(segments),
        }

    def class_rows(self) -> list[dict[str, Any]]:
        """One row per class, and "void": kind, images, segments, crowds, percent of all pixels, and
        mean area of a segment in pixels."""
        all_pixels = max(int(self.counts[:, 3].sum()) + self.void, 1)
        rows = [
            {
                "class": name,
                "kind": "thing" if i in self.classes.thing_ids else "stuff",
                **dict(zip(("images", "segments", "crowds"), counts, strict=False)),
                "pixels": 100 * counts[3] / all_pixels,
                "area": round(counts[3] / counts[1]) if counts[1] else 0,
            }
            for i, (name, counts) in enumerate(
                zip(self.classes.names, self.counts.tolist(), strict=True)
            )
        ]
        void = {"class": "void", "kind": "", "images": 0, "segments": 0, "crowds": 0, "area": 0}
        return [*rows, {**void, "pixels": 100 * self.void / all_pixels}]

    def table(self) -> str:
        """The rows of the classes, and their sum, as text."""
        rows = self.class_rows()
        total = {key: sum(r[key] for r in rows[:-1]) for key in ("segments", "crowds", "pixels")}
        total |= {"class": "all classes", "kind": "", "images": self.images}
        total["area"] = int(self.counts[:, 3].sum()) // max(total["segments"], 1)
        width = max(len(row["class"]) for row in [*rows, total])
        header = f"{'class':{width}s} | {'kind':5s} {'images':>8s} {'segments':>9s} {'crowds':>7s}"
        header += f" {'mean area':>9s} {'pixels':>7s}"
        lines = [
            f"{r['class']:{width}s} | {r['kind']:5s} {r['images']:8d} {r['segments']:9d} "
            f"{r['crowds']:7d} {r['area']:9d} {r['pixels']:6.2f}%"
            for r in [*rows, total]
        ]
        return "\n".join([header, "-" * len(header), *lines])

    def to_json(self) -> dict[str, Any]:
        """Everything but the fingerprints of the images."""
        findings = [
            {
                "severity": finding.severity,
                "kind": finding.kind,
                "sentence": finding.sentence,
                "images": [self.files[place] for place in finding.images],
            }
            for finding in self.findings
        ]
        figures = {"statistics": self.statistics(), "classes": self.class_rows()}
        return {"name": self.name, "findings": findings, **figures}


def check_dataset(name: str, *, workers: int = 0) -> DatasetReport:
    """Read every image and annotation of a registered data set, with a progress bar.

    Errors are: files that are missing or cannot be decoded, sizes that do not agree, ids that are
    not unique, classes that the metadata lacks; segment ids and areas that differ between PNG and
    ``segments_info``; values of a label PNG that are no class; objects without a pixel.
    Warnings and notes are about copies of images, very small and large ones, EXIF rotations, and
    classes (unused, of one name or colour, things or stuff by mistake, crowds).

    Args:
        workers: processes to share the work; 0 does it here.

    Raises:
        UserError: no data set has this name, or the files that describe it cannot be read at all.
    """
    check_known("Data set", name, DatasetCatalog.list())
    if has_classes(name):
        align_data_set(name, class_metadata(name), "its registration")
    try:
        records = DatasetCatalog.get(name)
    except UserError:
        if not (missing := missing_files(MetadataCatalog.get(name))):
            raise
        classes = Classes.from_metadata(MetadataCatalog.get(name))
        counts = np.zeros((classes.num_classes, 4), np.int64)
        return DatasetReport(name, classes, [], counts, findings=missing)
    classes = Classes.from_metadata(MetadataCatalog.get(name))
    checker = ImageChecker(frozenset(classes.thing_ids + classes.stuff_ids), classes.num_classes)
    checks = [*map_with_progress(checker, records, workers=workers, description=f"checking {name}")]
    counts = np.zeros((classes.num_classes, 4), np.int64)
    for check in checks:
        counts[check.counts[:, 0], 0] += 1
        counts[check.counts[:, 0], 1:] += check.counts[:, 1:]
    files = [record["file_name"] for record in records]
    report = DatasetReport(name, classes, files, counts, sum(c.void for c in checks), [], checks)
    for image_id in repeated(r.get("image_id", r["file_name"]) for r in records):
        sentence = f"Image id {image_id!r} is there twice: give each its own."
        report.findings.append(Finding("error", "copies", sentence))
    report.findings += image_findings(records, checks)
    report.findings += _copies_within(report)
    report.findings += class_findings(records, checks, classes)
    report.findings += unused_images(MetadataCatalog.get(name), files)
    return report


def check_splits(reports: Sequence[DatasetReport]) -> list[Finding]:
    """What data sets should not have in common; the first one is for training.

    Returns:
        Findings whose ``images`` are places in the data set that the sentence begins with.
    """
    train, *others = reports
    index = CopyIndex()
    for place, check in enumerate(train.checks):
        if check.print:
            index.add(place, check.print)
    findings = []
    for other in others:
        findings += _leakage(train, other, index)
        learned = {train.classes.names[i] for i in np.flatnonzero(train.counts[:, 1])}
        unseen = [
            other.classes.names[i]
            for i in np.flatnonzero(other.counts[:, 1])
            if other.classes.names[i] not in learned
        ]
        if unseen and train.checks:
            sentence = f"'{other.name}' has {several(unseen)}, which '{train.name}' never shows: "
            sentence += "a model cannot learn it."
            findings.append(Finding("warning", "unused classes", sentence))
    return findings


def _leakage(train: DatasetReport, other: DatasetReport, index: CopyIndex) -> list[Finding]:
    found = [(k, index.find(check.print)) for k, check in enumerate(other.checks) if check.print]
    findings = []
    for is_exact, severity, words in (
        (True, "error", "the very image"),
        (False, "warning", "a resized or recompressed copy of"),
    ):
        pairs = [(k, copy[0]) for k, copy in found if copy and copy[1] == is_exact]
        if pairs:
            k, place = pairs[0]
            sentence = (
                f"'{other.name}' shares {len(pairs)} of its {counted(other.images, 'image')} with "
                f"'{train.name}': '{other.files[k]}' is {words} '{train.files[place]}'. Figures of "
                "a model that has seen them are too good: leave them out of one."
            )
            findings.append(Finding(severity, "leakage", sentence, tuple(k for k, _ in pairs)))
    return findings


def _copies_within(report: DatasetReport) -> list[Finding]:
    index, findings = CopyIndex(), []
    for place, check in enumerate(report.checks):
        if not check.print:
            continue
        if copy := index.find(check.print):
            other, is_exact = copy
            words = (
                "has the same pixels as"
                if is_exact
                else "seems to be a copy, resized or recompressed, of"
            )
            sentence = f"'{report.files[place]}' {words} '{report.files[other]}': keep one."
            severity = "warning" if is_exact else "note"
            findings.append(Finding(severity, "copies", sentence, (place, other)))
        index.add(place, check.print)
    return findings


def _spread(values: Sequence[int] | np.ndarray) -> dict[str, float]:
    if len(values) == 0:
        return {}
    return {k: float(f(values)) for k, f in (("min", min), ("median", np.median), ("max", max))}
