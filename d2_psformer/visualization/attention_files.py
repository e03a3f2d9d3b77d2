"""Pictures of attention as files, for chosen segments of an image."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..utils.errors import UserError
from ..utils.files import safe_name, write_picture
from .attention import AttentionRecord
from .attention_maps import draw_attention_maps
from .attention_points import draw_sampling_points
from .overlays import Segments

MOST_SEGMENTS = 6  # drawn where none is chosen


def class_name(segment: dict, metadata) -> str:
    """The name of the class of a segment."""
    names = metadata.thing_classes if segment["isthing"] else metadata.stuff_classes
    return names[segment["category_id"]]


def check_choice(chosen: Sequence[str], metadata) -> None:
    """
    Raises:
        UserError: something is neither a number nor a class.
    """
    names = {*metadata.thing_classes, *metadata.stuff_classes}
    for one in chosen:
        if not one.isdecimal() and one not in names:
            raise UserError(
                f"There is no class '{one}': name ids of segments, or classes of the model as "
                "panoptic.json lists them."
            )


def choose_segments(segments_info: Segments, chosen: Sequence[str], metadata) -> Segments:
    """Segments of the chosen ids or classes, or those of the highest scores if none is chosen."""
    if not chosen:
        return sorted(segments_info, key=lambda s: -s["score"])[:MOST_SEGMENTS]
    return [s for s in segments_info if str(s["id"]) in chosen or class_name(s, metadata) in chosen]


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
        folder: made if it does not exist.
        image: uint8 (H, W, 3), RGB.
        ids: integers (H, W) of panoptic_seg.
        segments: some of its segments_info.
        record: of the forward pass that made them.
    """
    for segment in segments:
        name = class_name(segment, metadata)
        attention = record.of(segment)
        stem = f"{segment['id']}_{safe_name(name).replace(' ', '_')}"
        maps = draw_attention_maps(image, ids, attention, name)
        write_picture(folder / f"{stem}_maps.jpg", maps)
        if attention.points:
            points = draw_sampling_points(image, ids, attention, name)
            write_picture(folder / f"{stem}_points.jpg", points)
