"""Pictures of attention as files: for chosen segments of an image."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .attention import AttentionRecord
from .attention_maps import draw_attention_maps
from .attention_points import draw_sampling_points
from .files import write_picture
from .overlays import Segments

MOST_SEGMENTS = 6  # drawn where nobody has chosen


def class_name(segment: dict, metadata) -> str:
    """The name of the class of a segment."""
    names = metadata.thing_classes if segment["isthing"] else metadata.stuff_classes
    return names[segment["category_id"]]


def check_choice(wanted: Sequence[str], metadata) -> None:
    """
    Raises:
        ValueError: one sentence: something is neither a number nor a class.
    """
    names = {*metadata.thing_classes, *metadata.stuff_classes}
    for one in wanted:
        if not one.isdecimal() and one not in names:
            raise ValueError(
                f"There is no class '{one}': name ids of segments, or classes of the model as "
                "panoptic.json lists them."
            )


def choose_segments(segments_info: Segments, wanted: Sequence[str], metadata) -> Segments:
    """Segments of these ids or classes, or the surest few where nothing is wanted."""
    if not wanted:
        return sorted(segments_info, key=lambda s: -s["score"])[:MOST_SEGMENTS]
    return [s for s in segments_info if str(s["id"]) in wanted or class_name(s, metadata) in wanted]


def write_attention(
    folder: Path,
    image: np.ndarray,
    ids: np.ndarray,
    segments: Segments,
    record: AttentionRecord,
    metadata,
) -> None:
    """Write ``ID_CLASS_maps.jpg`` and, of things, ``ID_CLASS_points.jpg`` for each segment.

    Args:
        folder: made if it is not there.
        image: uint8 (H, W, 3), RGB.
        ids: integers (H, W) of panoptic_seg.
        segments: some of its segments_info.
        record: of the forward pass that made them.
    """
    for segment in segments:
        name = class_name(segment, metadata)
        attention = record.of(segment)
        stem = f"{segment['id']}_{name.replace('/', '-').replace(' ', '_')}"
        maps = draw_attention_maps(image, ids, attention, name)
        write_picture(folder / f"{stem}_maps.jpg", maps)
        if attention.points:
            points = draw_sampling_points(image, ids, attention, name)
            write_picture(folder / f"{stem}_points.jpg", points)
