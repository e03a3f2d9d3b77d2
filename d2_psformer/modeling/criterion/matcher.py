"""Bipartite matching of queries and segments."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ...utils.errors import UserError
from ..outputs import LayerOutputs
from .masks import DenseMasks
from .targets import Targets
from .terms import Term

# Query indices, ascending, and segment indices of one image, both long and of one length.
Match = tuple[Tensor, Tensor]


class HungarianMatcher:
    """Pairs of least total cost.

    Args:
        terms: their costs, times their cost weights, are added up.
        masks: how masks are sampled for the cost.
    """

    def __init__(self, terms: Sequence[Term], masks: DenseMasks | None = None):
        self.terms = tuple(terms)
        self.masks = masks or DenseMasks()

    @torch.no_grad()
    def __call__(self, outputs: list[LayerOutputs], targets: list[Targets]) -> list[Match]:
        """Match several sets of queries, each with its own segments; one transfer to the CPU.

        Raises:
            UserError: a cost is not finite.
        """
        with torch.autocast(targets[0].boxes.device.type, enabled=False):
            costs = [self.cost(*pair) for pair in zip(outputs, targets, strict=True)]
        flat = torch.cat([cost.flatten() for cost in costs]).cpu()
        parts = flat.split([cost.numel() for cost in costs])
        return [
            _hungarian(part.view(cost.shape), cost.device)
            for part, cost in zip(parts, costs, strict=True)
        ]

    def cost(self, outputs: LayerOutputs, target: Targets) -> Tensor:
        """(Q, N) float32. Terms whose outputs are None are left out."""
        total = 0
        for term in self.terms:
            predicted, truth = getattr(outputs, term.reads), target
            if predicted is None:
                continue
            predicted = predicted.float()
            if term.reads == "masks":
                sampled = self.masks.targets(target.masks, predicted.shape[-2:])
                truth = replace(target, masks=sampled)
                predicted = self.masks.predictions(predicted)
            total = total + term.cost_weight * term.cost(predicted, truth)
        return total


def _hungarian(cost: Tensor, device: torch.device) -> Match:
    """min(Q, N) pairs, on ``device``, for a cost matrix (Q, N) on the CPU."""
    if not torch.isfinite(cost).all():
        raise UserError(
            "The matching cost is not finite: the model's outputs have diverged. Lower "
            "SOLVER.BASE_LR, clip gradients (SOLVER.CLIP_GRADIENTS), or use bfloat16 or no AMP."
        )
    rows, columns = linear_sum_assignment(cost.numpy())
    return tuple(torch.as_tensor(x, dtype=torch.long, device=device) for x in (rows, columns))
