"""Matching of queries and segments."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from ...utils.errors import UserError, raise_not_finite
from ...utils.wording import counted
from ..outputs import LayerOutputs
from .masks import DenseMasks, MaskSampler
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

    def __init__(self, terms: Sequence[Term], masks: MaskSampler | None = None):
        self.terms = tuple(terms)
        self.masks = masks or DenseMasks()

    @torch.no_grad()
    def __call__(self, outputs: list[LayerOutputs], targets: list[Targets]) -> list[Match]:
        """Match several sets of queries, each with its own segments; one transfer to the CPU.

        Raises:
            NotFiniteError: a cost is not finite.
        """
        with torch.autocast(targets[0].boxes.device.type, enabled=False):
            costs = [self.cost(*pair) for pair in zip(outputs, targets, strict=True)]
        return match_costs(costs, partial(self._first_infinite, outputs, targets))

    def cost(self, outputs: LayerOutputs, target: Targets) -> Tensor:
        """(Q, N) float32. Terms whose outputs are None are left out."""
        return sum(cost for _, cost in self._costs(outputs, target))

    def _costs(self, outputs: LayerOutputs, target: Targets) -> Iterator[tuple[str, Tensor]]:
        """Name and weighted cost of every term."""
        pair = None
        for term in self.terms:
            predicted, truth = getattr(outputs, term.reads), target
            if predicted is None:
                continue
            predicted = predicted.float()
            if term.reads == "masks":
                if pair is None:
                    sample = self.masks.prepare([target], predicted.shape[-2:])
                    [pair] = sample([predicted])
                predicted, truth = pair
            yield term.name, term.cost_weight * term.cost(predicted, truth)

    def _first_infinite(self, outputs: list[LayerOutputs], targets: list[Targets]) -> str:
        """The first term whose cost is not finite."""
        costs = (
            named for pair in zip(outputs, targets, strict=True) for named in self._costs(*pair)
        )
        return next((name for name, cost in costs if not torch.isfinite(cost).all()), "their sum")


class FixedMatcher:
    """Query k belongs to class k, as in MaskFormer's ablation of matching."""

    def __call__(self, outputs: list[LayerOutputs], targets: list[Targets]) -> list[Match]:
        """
        Raises:
            UserError: the numbers of queries and classes differ, or a class has two segments.
        """
        return [self._match(*pair) for pair in zip(outputs, targets, strict=True)]

    def _match(self, outputs: LayerOutputs, target: Targets) -> Match:
        queries, classes = outputs.logits.shape[0], outputs.logits.shape[1] - 1
        if queries != classes:
            raise UserError(
                f"Fixed matching gives every class a query, but there are {queries} queries and "
                f"{counted(classes, 'class')}: set MODEL.TRANSFORMER_DECODER.NUM_QUERIES to "
                f"{classes}."
            )
        matched, segments = target.classes.sort()
        if (matched[1:] == matched[:-1]).any():
            raise UserError(
                "Fixed matching needs at most one segment of every class in an image, as in "
                "semantic segmentation: use MODEL.LOSS.MATCHING hungarian."
            )
        return matched, segments


def match_costs(costs: list[Tensor], first_infinite: Callable[[], str]) -> list[Match]:
    """min(Q, N) pairs of least total cost for every matrix (Q, N); one transfer to the CPU.

    Args:
        first_infinite: names what is not finite, where something is not.

    Raises:
        NotFiniteError: a cost is not finite.
    """
    flat = torch.cat([cost.flatten() for cost in costs]).cpu()
    if not torch.isfinite(flat).all():
        raise_not_finite(
            f"The matching cost is not finite, first that of {first_infinite()}: the model's "
            "outputs have diverged. Lower SOLVER.BASE_LR, clip gradients (SOLVER.CLIP_GRADIENTS), "
            "or use bfloat16 or no AMP."
        )
        flat.zero_()  # any pairs will do for a step that is left out
    parts = flat.split([cost.numel() for cost in costs])
    return [
        _hungarian(part.view(cost.shape), cost.device)
        for part, cost in zip(parts, costs, strict=True)
    ]


def _hungarian(cost: Tensor, device: torch.device) -> Match:
    """min(Q, N) pairs, on ``device``, for a cost matrix (Q, N) on the CPU."""
    from scipy.optimize import linear_sum_assignment  # takes 0.25 s; prediction needs none

    rows, columns = linear_sum_assignment(cost.numpy())
    return tuple(torch.as_tensor(x, dtype=torch.long, device=device) for x in (rows, columns))
