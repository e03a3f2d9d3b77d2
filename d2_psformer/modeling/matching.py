"""Costs of pairing queries with ground truth, and the best pairing."""

from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ..layers import box_cxcywh_to_xyxy, generalized_box_iou
from ..utils.errors import UserError
from .losses import focal_terms
from .targets import BatchedThings, Match


@dataclass(frozen=True)
class LocationCost:
    """Weights of class (focal), box L1 and GIoU in the cost of a (query, thing) pair.

    Without boxes, or with a GIoU weight of 0, the cost has fewer terms.
    """

    class_weight: float = 2.0
    l1_weight: float = 5.0
    giou_weight: float = 2.0
    focal_alpha: float = 0.25
    focal_gamma: float = 2.0

    @torch.no_grad()
    def __call__(self, logits: Tensor, boxes: Tensor | None, things: BatchedThings) -> Tensor:
        """
        Args:
            logits: (..., Q, classes).
            boxes: (..., Q, 4) cx, cy, w, h, normalised; or None.
            things: N things; GIoU is taken in pixels of the image of each.

        Returns:
            (..., Q, N) float32.
        """
        positive, negative = focal_terms(logits.float(), self.focal_alpha, self.focal_gamma)
        cost = self.class_weight * (positive - negative)[..., things.classes]
        if boxes is None:
            return cost
        boxes = boxes.float()[..., None, :]
        cost = cost + self.l1_weight * (boxes - things.boxes).abs().sum(-1)
        if not self.giou_weight:
            return cost
        giou = generalized_box_iou(
            box_cxcywh_to_xyxy(boxes) * things.scale,
            box_cxcywh_to_xyxy(things.boxes) * things.scale,
        )
        return cost - self.giou_weight * giou


def hungarian(cost: Tensor, device: torch.device) -> Match:
    """Pairs of least total cost, on ``device``, for a cost matrix (Q, N): min(Q, N) pairs.

    Raises:
        FloatingPointError: the cost is not finite.
    """
    if not torch.isfinite(cost).all():
        raise UserError(
            "The matching cost is not finite: the model's outputs have diverged. Lower "
            "SOLVER.BASE_LR, clip gradients (SOLVER.CLIP_GRADIENTS), or use bfloat16 or no AMP."
        )
    rows, columns = linear_sum_assignment(cost.cpu().numpy())
    return (
        torch.as_tensor(rows, dtype=torch.long, device=device),
        torch.as_tensor(columns, dtype=torch.long, device=device),
    )


def hungarian_each(costs: list[Tensor], device: torch.device) -> list[Match]:
    """:func:`hungarian` of several matrices, which reach the CPU in one transfer."""
    flat = torch.cat([cost.flatten() for cost in costs]).cpu()
    parts = flat.split([cost.numel() for cost in costs])
    return [
        hungarian(part.view(cost.shape), device) for part, cost in zip(parts, costs, strict=True)
    ]
