"""The losses of MaX-DeepLab (Wang et al., CVPR 2021, arXiv 2012.00759)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..outputs import SegmenterOutputs
from .cell_terms import CellTerm
from .cells import CellOutputs, CellTargets
from .matcher import Match, match_costs
from .pq_style import similarities
from .targets import Targets


class MaXDeepLabCriterion:
    """One match of slots and segments, and the losses of every image, whose mean is taken.

    Each process takes the mean of its own images, as deeplab2 does.

    Args:
        terms: their losses, times their weights, are returned; those of weight 0 are left out.
        stride: pixels from a cell of the predicted maps to the next, along each side; the first
            cell is the first pixel.
    """

    def __init__(self, terms: Sequence[CellTerm], stride: int = 4):
        self.terms = tuple(term for term in terms if term.weight)
        self.stride = stride

    def __call__(
        self,
        outputs: SegmenterOutputs,
        targets: list[Targets],
        matches: list[Match] | None = None,
    ) -> dict[str, Tensor]:
        """
        Args:
            matches: of each image; None to match here.

        Returns:
            weighted losses by name, scalars.
        """
        matches = self.match(outputs, targets) if matches is None else matches
        with torch.autocast(targets[0].masks.device.type, enabled=False):
            images = [
                self._image_losses(CellOutputs.of(outputs, image), self._truth(target), match)
                for image, (target, match) in enumerate(zip(targets, matches, strict=True))
            ]
        return {name: torch.stack([losses[name] for losses in images]).mean() for name in images[0]}

    @torch.no_grad()
    def match(self, outputs: SegmenterOutputs, targets: list[Targets]) -> list[Match]:
        """The pairs of each image that are the most similar in all; one transfer to the CPU.

        Segments without a cell have no slot.

        Raises:
            NotFiniteError: a similarity is not finite.
        """
        costs, seen = [], []
        with torch.autocast(targets[0].masks.device.type, enabled=False):
            for image, target in enumerate(targets):
                predicted, truth = CellOutputs.of(outputs, image), self._truth(target)
                dice, probability = similarities(predicted.shares, predicted.logits, truth)
                seen.append(truth.seen)
                costs.append(-(dice * probability)[:, truth.seen])
        matches = match_costs(costs, lambda: "masks or classes")
        return [(slots, rows[found]) for rows, (slots, found) in zip(seen, matches, strict=True)]

    def _truth(self, target: Targets) -> CellTargets:
        return CellTargets.of(target, self.stride)

    def _image_losses(
        self, predicted: CellOutputs, truth: CellTargets, match: Match
    ) -> dict[str, Tensor]:
        return {
            name: term.weight * loss
            for term in self.terms
            for name, loss in term.losses(predicted, truth, match).items()
        }
