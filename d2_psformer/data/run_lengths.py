"""Run lengths of COCO's masks, checked before pycocotools reads them, which it does unguarded."""

from typing import Any

import numpy as np

_DIGITS = 6  # of 5 bits each that a run length has at most


def check_run_lengths(counts: Any, pixels: int) -> str:
    """What is wrong with the ``counts`` of a mask of so many pixels, "" if nothing is.

    Args:
        counts: a list, or COCO's text of it: digits of 5 bits, from the lowest on, and from the
            third length on the difference from the one before the last.
    """
    if isinstance(counts, bytes | str):
        lengths = _lengths_of_text(counts)
    else:
        lengths = np.asarray(counts) if _are_integers(counts) else None
    if lengths is None:
        return "'counts' are no run lengths"
    if (lengths < 0).any():
        return "a run length is negative"
    if (total := int(lengths.sum())) != pixels:
        return f"its run lengths cover {total} pixels, its size says {pixels}"
    return ""


def _are_integers(counts: Any) -> bool:
    return isinstance(counts, list) and all(
        isinstance(c, int) and not isinstance(c, bool) and abs(c) < 2**31 for c in counts
    )


def _lengths_of_text(text: bytes | str) -> np.ndarray | None:
    data = text if isinstance(text, bytes) else text.encode(errors="replace")
    codes = np.frombuffer(data, np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(codes & 32 == 0)
    is_broken = codes.size and (codes.min() < 0 or codes.max() > 63 or ends[-1:] != codes.size - 1)
    starts = np.concatenate([[0], ends[:-1] + 1])
    if is_broken or (codes.size and (ends - starts).max() >= _DIGITS):
        return None
    if not codes.size:
        return np.zeros(0, np.int64)
    sizes = ends - starts + 1
    digits = np.arange(codes.size) - np.repeat(starts, sizes)
    values = np.add.reduceat((codes & 31) << 5 * digits, starts)
    values -= (codes[ends] & 16 > 0) * (1 << 5 * sizes)  # the highest bit is the sign
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values
