"""Do two panoptic results say the same?"""

import torch
from torch import Tensor

PanopticSeg = tuple[Tensor, list[dict]]


def difference(found: PanopticSeg, expected: PanopticSeg) -> dict[str, float | bool]:
    """How one result differs from another, whatever their ids are.

    Returns:
        ``differing pixels``: share of pixels whose segment is not the one that its segment has most
        pixels in common with, class for class. ``same segments``: as many of every class, and each
        with one counterpart.
    """
    ids, segments = found
    other_ids, other_segments = expected
    classes = {0: None} | {x["id"]: x["category_id"] for x in segments}
    other_classes = {0: None} | {x["id"]: x["category_id"] for x in other_segments}
    pairs, counts = torch.stack([ids.flatten(), other_ids.flatten().to(ids)]).unique(
        dim=1, return_counts=True
    )
    common = sorted(zip(counts.tolist(), *pairs.tolist(), strict=True), reverse=True)
    counterpart, agreeing = {}, 0
    for count, mine, other in common:
        is_free = mine not in counterpart and other not in counterpart.values()
        if is_free and classes[mine] == other_classes[other]:
            counterpart[mine] = other
            agreeing += count
    # void may own no pixel in one of them
    matched = len([mine for mine in counterpart if mine])
    return {
        "differing pixels": 1 - agreeing / ids.numel(),
        "same segments": matched == len(segments) == len(other_segments),
    }
