"""What the images and classes of a data set show when looked at together."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from ..classes import Classes
from ..utils.files import comparable_name
from ..utils.wording import counted
from .findings import Finding, several
from .image_check import ImageCheck, kind_of
from .panoptic_json import repeated
from .reading import Record

LEAST_SIDE = 64  # pixels: smaller images have no detail at the strides of a backbone
MOST_PIXELS = 50_000_000
LEAST_IMAGES, LARGE_SHARE = 10, 0.4  # of a class that is perhaps no thing


def image_findings(records: Sequence[Record], checks: Sequence[ImageCheck]) -> list[Finding]:
    """Findings about single images, the errors first."""
    files = [record["file_name"] for record in records]
    findings = [
        Finding("error", check.kind, check.fault, (place,))
        for place, check in enumerate(checks)
        if check.fault
    ]
    if again := repeated(files):
        sentence = f"Listed twice: {several(again)}. Keep one of each."
        findings.append(Finding("error", "copies", sentence))

    def about(severity: str, kind: str, places: list[int], words: str) -> None:
        if places:
            images = several([files[place] for place in places])
            sentence = f"{counted(len(places), 'image')} {words}: {images}."
            findings.append(Finding(severity, kind, sentence, tuple(places)))

    sizes = {place: check.size for place, check in enumerate(checks) if check.size}
    small = [place for place, size in sizes.items() if min(size) < LEAST_SIDE]
    large = [place for place, (height, width) in sizes.items() if height * width > MOST_PIXELS]
    empty = [
        k for k, check in enumerate(checks) if not check.fault and not check.counts[:, 1].sum()
    ]
    turned = [place for place, check in enumerate(checks) if check.rotated]
    most = f"{MOST_PIXELS // 10**6} megapixels"
    about("warning", "tiny image", small, f"with a side of less than {LEAST_SIDE} pixels")
    about("warning", "huge image", large, f"of more than {most}, which need much memory")
    about("warning", "empty", empty, "without a segment, all of it void")
    about("note", "EXIF", turned, "turned by an EXIF tag and read upright, as viewers show it; the "
          "annotation must be drawn so")  # fmt: skip
    return findings


def class_findings(
    records: Sequence[Record], checks: Sequence[ImageCheck], classes: Classes
) -> list[Finding]:
    """Findings about classes: unused, of one name or colour, things or stuff by mistake, crowds."""
    findings, names = [], classes.names
    used = sorted(classes.thing_ids + classes.stuff_ids)
    shown = {i for check in checks for i in check.counts[:, 0].tolist()}
    if unused := [names[i] for i in used if i not in shown]:
        sentence = f"No image shows {', '.join(unused[:10])}"
        sentence += f" and {len(unused) - 10} more." if unused[10:] else "."
        findings.append(Finding("warning", "unused classes", sentence))
    by_name, by_color = defaultdict(list), defaultdict(list)
    for i in used:
        by_name[comparable_name(names[i].strip())].append(f"'{names[i]}'")
        by_color[tuple(classes.colors[i])].append(names[i])
    for alike in by_name.values():
        if alike[1:]:
            sentence = f"The names of classes {', '.join(alike)} look alike: rename or merge them."
            findings.append(Finding("warning", "names", sentence))
    for color, alike in by_color.items():
        if alike[1:]:
            sentence = f"{', '.join(alike)} have one colour, {list(color)}: pictures cannot tell "
            findings.append(Finding("warning", "colours", sentence + "them apart."))
    if records and kind_of(records[0]) != "semantic":
        # Of each image and class: place of the image, class, segments, crowds, pixels.
        rows = np.concatenate([np.insert(c.counts, 0, k, axis=1) for k, c in enumerate(checks)])
        findings += _stuff_findings(rows, classes)
        findings += _thing_findings(rows, checks, classes)
        if (crowds := rows[rows[:, 3] > 0]).size:
            places = tuple(np.unique(crowds[:, 0]).tolist())
            regions = counted(crowds[:, 3].sum(), "crowd region")
            sentence = f"{regions} in {counted(len(places), 'image')}: no object is learned there."
            findings.append(Finding("note", "crowds", sentence, places))
    return findings


def _stuff_findings(rows: np.ndarray, classes: Classes) -> list[Finding]:
    """Stuff has at most one segment an image, and no crowds."""
    findings = []
    for i in classes.stuff_ids:
        of_class = rows[rows[:, 1] == i]
        several_of = tuple(of_class[of_class[:, 2] > 1, 0].tolist())
        crowds = tuple(of_class[of_class[:, 3] > 0, 0].tolist())
        if several_of:
            sentence = (
                f"Stuff class '{classes.names[i]}' has several segments in "
                f"{counted(len(several_of), 'image')}: give it isthing 1, or make them one segment."
            )
            findings.append(Finding("warning", "isthing", sentence, several_of))
        if crowds:
            sentence = f"Stuff class '{classes.names[i]}' has crowds, which only things have."
            findings.append(Finding("warning", "crowds", sentence, crowds))
    return findings


def _thing_findings(
    rows: np.ndarray, checks: Sequence[ImageCheck], classes: Classes
) -> list[Finding]:
    """Things that fill images, and never come twice in one, are perhaps stuff."""
    findings = []
    for i in classes.thing_ids:
        of_class = rows[rows[:, 1] == i]
        if len(of_class) < LEAST_IMAGES or of_class[:, 2].max() > 1:
            continue
        share = np.mean([row[4] / np.prod(checks[row[0]].size) for row in of_class])
        if share > LARGE_SHARE:
            sentence = (
                f"Thing class '{classes.names[i]}' has one segment in each of {len(of_class)} "
                f"images, which fills {share:.0%} of it: if it cannot be counted, it is stuff "
                "(isthing 0)."
            )
            findings.append(Finding("warning", "isthing", sentence, tuple(of_class[:, 0].tolist())))
    return findings
