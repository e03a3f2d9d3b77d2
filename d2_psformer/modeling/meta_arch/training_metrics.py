"""Numbers that show how training goes, logged beside the losses."""

import torch
from torch import Tensor

from ...d2.utils import get_event_storage, has_event_storage
from ..criterion import Match, Targets, dice_loss, resize_masks
from ..outputs import LayerOutputs


@torch.no_grad()
def log_matched_segments(
    outputs: list[LayerOutputs], matches: list[Match], targets: list[Targets]
) -> None:
    """Log ``class_score`` (of the right class) and ``mask_dice``, means over matched segments.

    Args:
        outputs: logits and masks of each image that the indices of ``matches`` point to.
    """
    if not has_event_storage() or not sum(len(queries) for queries, _ in matches):
        return
    scores, dice = [], []
    for image, (queries, segments), target in zip(outputs, matches, targets, strict=True):
        scores.append(image.logits[queries, target.classes[segments]].sigmoid())
        masks = image.masks[queries].float()
        dice.append(1 - _dice_losses(masks, target.masks[segments]))
    storage = get_event_storage()
    storage.put_scalar("class_score", float(torch.cat(scores).mean()))
    storage.put_scalar("mask_dice", float(torch.cat(dice).mean()))


@torch.no_grad()
def log_mask_id_accuracy(
    masks: Tensor, matches: list[Match], targets: list[Targets], stride: int
) -> None:
    """Log ``mask_id_accuracy``: of the cells of matched segments, the share that their slot has.

    Args:
        masks: (B, Q, h, w); the slot of the largest value has the cell.
        stride: pixels from a cell to the next; the first cell is the first pixel.
    """
    if not has_event_storage():
        return
    cells, right = 0, 0
    for slots, (queries, segments), target in zip(masks.argmax(1), matches, targets, strict=True):
        truth = target.masks[segments][:, ::stride, ::stride]
        cells += truth.sum()
        right += (truth & (slots == queries[:, None, None])).sum()
    if cells:
        get_event_storage().put_scalar("mask_id_accuracy", float(right / cells))


def _dice_losses(masks: Tensor, targets: Tensor) -> Tensor:
    """(N, h, w) and (N, H, W) -> (N,)."""
    return dice_loss(masks.flatten(1), resize_masks(targets, masks.shape[-2:]).flatten(1))
