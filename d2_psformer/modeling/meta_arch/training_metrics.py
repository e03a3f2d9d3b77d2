"""Numbers that tell a person how training goes, beside the losses."""

import torch
from torch import Tensor

from ...d2.utils import get_event_storage, has_event_storage
from ..criterion import resize_masks
from ..losses import dice_loss
from ..targets import Match, Targets


@torch.no_grad()
def log_matched_pairs(
    logits: Tensor,
    matches: list[Match],
    targets: list[Targets],
    masks: Tensor,
    truth: list[Tensor],
) -> None:
    """Log ``class_score`` (of the right class) and ``mask_dice``, means over matched things.

    Args:
        logits: (B, Q, classes) of the last layer.
        matches: of the last layer, for each image.
        masks: (N, h, w) final masks of the matched things of all images.
        truth: their masks (N_i, H, W), image by image.
    """
    if not has_event_storage() or not len(masks):
        return
    scores = [
        logits[image, queries, target.thing_classes[things]].sigmoid()
        for image, ((queries, things), target) in enumerate(zip(matches, targets, strict=True))
    ]
    resized = torch.cat([resize_masks(x, masks.shape[-2:]) for x in truth])
    storage = get_event_storage()
    storage.put_scalar("class_score", float(torch.cat(scores).mean()))
    storage.put_scalar("mask_dice", float(1 - dice_loss(masks.float(), resized).mean()))
