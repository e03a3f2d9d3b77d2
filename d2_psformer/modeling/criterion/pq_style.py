"""The PQ-style loss of MaX-DeepLab (Wang et al., CVPR 2021, arXiv 2012.00759)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...utils.checks import check_choice, check_share
from .cell_terms import CellTerm, mean_of_nonzero
from .cells import CellOutputs, CellTargets
from .matcher import Match

_EPS = 1e-5  # of the dice of a pair, and the least weight of a loss


@dataclass(frozen=True)
class PQStyle(CellTerm):
    """Loss of the classes and of the masks: each of them is weighed by how good the other one is.

    Segments without a slot, which exist where there are more segments than slots, have no loss of
    their own; their cells are in none of the masks that have one.

    Attributes:
        positive_share: weight of the matched slots; the unmatched ones have the rest to 1.
        negative_weight: what the class loss of an unmatched slot is weighed by too: "void_share",
            the share of its mask on cells without a class (deeplab2), or "constant", 1 (the paper).
    """

    positive_share: float = 0.75
    negative_weight: str = "void_share"

    def __post_init__(self):
        super().__post_init__()
        check_share(positive_share=self.positive_share)
        check_choice(("void_share", "constant"), negative_weight=self.negative_weight)

    def losses(self, predicted: CellOutputs, truth: CellTargets, match: Match) -> dict[str, Tensor]:
        shares = predicted.shares
        with torch.no_grad():
            pairs = similarities(shares, predicted.logits, truth)
            dice, probability = (x[match].clamp(min=_EPS) for x in pairs)
            negative = self._negative_weights(shares, truth)
        return {
            "loss_pq_class": self._class_loss(predicted.logits, truth, match, dice, negative),
            "loss_pq_mask": self._mask_loss(shares, truth, match, probability),
        }

    def _negative_weights(self, shares: Tensor, truth: CellTargets) -> Tensor:
        """(Q,)."""
        if self.negative_weight == "constant":
            return torch.ones_like(shares[:, 0])
        on_void = shares @ (1 - truth.labelled)
        return (on_void / (shares.sum(1) + _EPS)).clamp(min=_EPS)

    def _class_loss(
        self, logits: Tensor, truth: CellTargets, match: Match, dice: Tensor, negative: Tensor
    ) -> Tensor:
        """Cross-entropy; unmatched slots are "no object"."""
        queries, segments = match
        no_object = logits.shape[1] - 1
        classes = torch.full_like(logits[:, 0], no_object, dtype=torch.long)
        classes[queries] = truth.classes[segments]
        weights = (1 - self.positive_share) * negative
        weights[queries] = self.positive_share * dice
        return mean_of_nonzero(weights * F.cross_entropy(logits, classes, reduction="none"))

    def _mask_loss(
        self, shares: Tensor, truth: CellTargets, match: Match, probability: Tensor
    ) -> Tensor:
        """Dice loss of the cells that belong to a segment."""
        queries, segments = match
        matched, masks = shares[queries], truth.masks[segments]
        overlap = torch.linalg.vecdot(matched, masks)
        area = matched @ truth.masks.sum(0) + masks.sum(1)
        errors = 1 - (2 * overlap + 1) / (area + 1)
        return self.positive_share * (probability * errors).sum() / len(shares)


def similarities(shares: Tensor, logits: Tensor, truth: CellTargets) -> tuple[Tensor, Tensor]:
    """Dice of the masks, and probability of the segment's class: two (Q, N), in [0, 1].

    Their product is what slots and segments are matched by.

    Args:
        shares, logits: as in :class:`CellOutputs`.
    """
    area = (shares @ truth.labelled)[:, None] + truth.masks.sum(1)
    dice = shares @ truth.masks.T / (area / 2 + _EPS)
    return dice, logits.softmax(-1)[:, truth.classes]
