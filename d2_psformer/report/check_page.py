"""The page of a check of data: findings, statistics, and the images that have most of them."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..d2.data import DatasetCatalog, MetadataCatalog
from ..data.checks import DatasetReport
from ..data.findings import SEVERITIES, Finding
from ..data.image_check import kind_of
from ..data.images import read_pixels
from ..data.panoptic_png import read_panoptic_png
from ..engine.result_segments import Segments, segments_of_record
from ..utils.errors import UserError
from ..visualization import draw_overlay
from .gallery import SIDE, data_uri
from .page import write_template

MOST_FINDINGS = 500  # of a data set, in the page
MOST_NAMED = 4  # findings below a picture


def write_check_page(
    path: Path,
    reports: Sequence[DatasetReport],
    leakage: Sequence[Finding],
    *,
    num_images: int = 24,
) -> None:
    """Write an HTML file that needs no other.

    Args:
        leakage: result of :func:`.check_splits`.
        num_images: pictures of each data set, at most.
    """
    shown = [
        {
            "name": report.name,
            "findings": report.findings,
            "statistics": report.statistics(),
            "classes": report.class_rows(),
            "pictures": _pictures(report, num_images),
        }
        for report in reports
    ]
    write_template(
        path,
        "check.html",
        reports=shown,
        leakage=leakage,
        most=MOST_FINDINGS,
        date=f"{datetime.now():%Y-%m-%d %H:%M}",
    )


def worst_images(findings: Sequence[Finding], limit: int) -> dict[int, list[Finding]]:
    """Places of the images with the most severe and most findings, and these; the worst first."""
    of_image: dict[int, list[Finding]] = defaultdict(list)
    for finding in findings:
        for place in finding.images:
            of_image[place].append(finding)

    def rank(place: int) -> tuple[int, ...]:
        found = [finding.severity for finding in of_image[place]]
        return tuple(-found.count(severity) for severity in SEVERITIES)

    return {place: of_image[place] for place in sorted(of_image, key=rank)[:limit]}


def _pictures(report: DatasetReport, limit: int) -> list[dict[str, Any]]:
    worst = worst_images(report.findings, limit)
    records = DatasetCatalog.get(report.name) if worst else []
    metadata = MetadataCatalog.get(report.name)
    return [
        {
            "file": report.files[place],
            "findings": found[:MOST_NAMED],
            "source": data_uri(_draw(records[place], metadata)),
        }
        for place, found in tqdm(worst.items(), desc="pictures", unit="image", disable=None)
    ]


def _draw(record: dict[str, Any], metadata: Any) -> np.ndarray:
    """The overlay of an image, or what can be read of it."""
    try:
        image = read_pixels(record["file_name"], "RGB")
    except (UserError, OSError):
        return np.full((SIDE // 4, SIDE, 3), 128, np.uint8)
    size = image.shape[:2]
    try:
        ids, segments = _segments(record, size)
    except (UserError, OSError):
        ids, segments = np.zeros(size, np.int32), []
    return draw_overlay(image, ids, segments, metadata, long_side=SIDE)


def _segments(record: dict[str, Any], size: tuple[int, int]) -> Segments:
    """The ground truth; of a panoptic PNG that does not agree with its list, what does."""
    try:
        return segments_of_record(record, size, kind_of(record))
    except UserError:
        if kind_of(record) != "panoptic":
            raise
    ids = read_panoptic_png(record["pan_seg_file_name"])
    if ids.shape != size:
        raise UserError(f"'{record['pan_seg_file_name']}' has another size than its image.")
    return ids, list({segment["id"]: segment for segment in record["segments_info"]}.values())
