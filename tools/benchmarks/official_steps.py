"""The steps of MaskFormer's and Mask2Former's panoptic inference, all masks large at once."""

import torch
import torch.nn.functional as F
from torch import Tensor

from d2_psformer.modeling.postprocessing import Placement


def resize_all(masks: Tensor, placement: Placement) -> Tensor:
    """Logits (Q, h, w) -> canvas -> image -> (Q, H, W) of the output."""
    height, width = placement.image
    on_canvas = F.interpolate(masks[None], placement.canvas, mode="bilinear")
    cropped = on_canvas[..., :height, :width]
    return F.interpolate(cropped, placement.output, mode="bilinear")[0]


def merge(
    logits: Tensor,
    masks: Tensor,
    thing_ids: tuple[int, ...],
    *,
    score_threshold: float,
    overlap_threshold: float,
    within_mask: bool,
) -> tuple[Tensor, list[dict]]:
    """Id map (H, W) long and its segments_info.

    Args:
        logits: (Q, K + 1), the last one of "no object".
        masks: (Q, H, W) logits at the size of the result.
        overlap_threshold: the least share of its mask that a segment must have won.
        within_mask: Mask2Former's rule: pixels outside the own mask stay void.
    """
    scores, labels = logits.softmax(-1).max(-1)
    masks = masks.sigmoid()
    keep = (labels != logits.shape[1] - 1) & (scores > score_threshold)
    scores, labels, masks = scores[keep], labels[keep].tolist(), masks[keep]
    id_map = torch.zeros(masks.shape[1:], dtype=torch.long, device=masks.device)
    segments_info: list[dict] = []
    if not labels:
        return id_map, segments_info
    winner = (scores[:, None, None] * masks).argmax(0)
    ids_of_stuff: dict[int, int] = {}
    for query, label in enumerate(labels):
        won, own = winner == query, masks[query] >= 0.5
        pixels = won & own if within_mask else won
        areas = won.sum().item(), own.sum().item(), pixels.sum().item()
        if 0 in areas or areas[0] / areas[1] < overlap_threshold:
            continue
        if label in ids_of_stuff:
            id_map[pixels] = ids_of_stuff[label]
            continue
        found = {"id": len(segments_info) + 1, "isthing": label in thing_ids, "category_id": label}
        if not found["isthing"]:
            ids_of_stuff[label] = found["id"]
        segments_info.append(found)
        id_map[pixels] = found["id"]
    return id_map, segments_info
