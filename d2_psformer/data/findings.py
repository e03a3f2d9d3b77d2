"""What a check of data finds."""

from collections.abc import Sequence
from dataclasses import dataclass

SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One sentence about a data set.

    Attributes:
        severity: "error" (a training would stop or learn what is wrong), "warning" (look at it) or
            "note" (good to know).
        kind: a word or two to sort by, e.g. "copies".
        images: places of the images in the data set, if it is about some.
    """

    severity: str
    kind: str
    sentence: str
    images: tuple[int, ...] = ()


def several(files: Sequence[str]) -> str:
    """The first of some files for a sentence, and the number of the others."""
    return f"'{files[0]}'" + (f" and {len(files) - 1} more" if files[1:] else "")
