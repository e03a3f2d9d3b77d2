"""One segment for every stuff class."""

from dataclasses import replace

import torch
from torch import Tensor

from .mask_wise import Segment


def merge_stuff_segments(
    id_map: Tensor, segments: list[Segment], classes: list[int], is_thing: list[bool]
) -> tuple[Tensor, list[Segment]]:
    """Give all segments of a stuff class the id of the first one, as several queries may find it.

    The first one's index and score are kept, the pixels are added up, and ids are numbered anew.

    Args:
        id_map: (H, W) int32, 0 = void.
        segments: of every id 1, 2, ….
        classes, is_thing: of the masks that ``index`` of a segment points to.
    """
    joined: list[Segment] = []
    ids_of_stuff: dict[int, int] = {}
    new_ids = [0]
    for segment in segments:
        stuff = None if is_thing[segment.index] else classes[segment.index]
        if stuff in ids_of_stuff:
            new_ids.append(ids_of_stuff[stuff])
            first = joined[new_ids[-1] - 1]
            joined[first.id - 1] = replace(first, area=first.area + segment.area)
            continue
        joined.append(replace(segment, id=len(joined) + 1))
        new_ids.append(joined[-1].id)
        if stuff is not None:
            ids_of_stuff[stuff] = joined[-1].id
    if len(joined) == len(segments):
        return id_map, segments
    return torch.tensor(new_ids, dtype=torch.int32, device=id_map.device)[id_map.long()], joined
