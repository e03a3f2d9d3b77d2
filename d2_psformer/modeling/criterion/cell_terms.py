"""CellTerm: losses of one image at the cells of its maps; those of single cells (MaX-DeepLab)."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ...utils.checks import check_at_least, check_between, check_share
from ...utils.errors import UserError
from .cells import CellOutputs, CellTargets, number_cells
from .matcher import Match
from .targets import IGNORE


@dataclass(frozen=True)
class CellTerm(ABC):
    """Losses of one image.

    Attributes:
        weight: factor of the losses.
    """

    weight: float

    def __post_init__(self):
        check_at_least(0, **{f"weight of {type(self).__name__}": self.weight})

    @abstractmethod
    def losses(self, predicted: CellOutputs, truth: CellTargets, match: Match) -> dict[str, Tensor]:
        """Scalars by name, not yet times the weight."""


@dataclass(frozen=True)
class CellEntropy(CellTerm):
    """The mean cross-entropy of the cells.

    Attributes:
        hardest: the share of the cells, those of the largest losses, that is learned from.
    """

    name: ClassVar[str]
    hardest: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        check_share(hardest=self.hardest)
        if self.hardest == 0:
            raise UserError("hardest is 0: to learn from no cell, set the weight of the loss to 0.")

    def losses(self, predicted: CellOutputs, truth: CellTargets, match: Match) -> dict[str, Tensor]:
        return {self.name: mean_of_nonzero(self.entropies(predicted, truth, match), self.hardest)}

    @abstractmethod
    def entropies(self, predicted: CellOutputs, truth: CellTargets, match: Match) -> Tensor:
        """(P,)."""


@dataclass(frozen=True)
class MaskId(CellEntropy):
    """Over the slots: a cell belongs to the slot of its segment."""

    name = "loss_mask_id"

    def entropies(self, predicted: CellOutputs, truth: CellTargets, match: Match) -> Tensor:
        queries, segments = match
        slots = number_cells(truth.masks[segments], queries)
        log_shares = predicted.log_shares[None]
        return F.nll_loss(log_shares, slots[None], ignore_index=-1, reduction="none")[0]


@dataclass(frozen=True)
class InstanceDiscrimination(CellEntropy):
    """Over the segments: the embedding of a thing's cell is like the mean of its segment.

    Attributes:
        temperature: divides the cosines.
    """

    name = "loss_instance"
    temperature: float = 0.3

    def __post_init__(self):
        super().__post_init__()
        check_between(0, math.inf, temperature=self.temperature)

    def entropies(self, predicted: CellOutputs, truth: CellTargets, match: Match) -> Tensor:
        masks, embedding = truth.masks[truth.seen], predicted.embedding
        means = F.normalize(masks @ embedding.T / masks.sum(1, keepdim=True), eps=1e-6)
        of_things = truth.masks[truth.is_thing].any(0)
        logits = means @ embedding[:, of_things] / self.temperature
        segments = number_cells(masks[:, of_things], torch.arange(len(masks), device=masks.device))
        entropies = embedding.new_zeros(len(of_things))
        entropies[of_things] = F.cross_entropy(logits[None], segments[None], reduction="none")[0]
        return entropies


@dataclass(frozen=True)
class SemanticEntropy(CellEntropy):
    """Over the classes, of the cells that have one.

    Attributes:
        small_thing_weight: weight of the cells of small things; others have weight 1.
        small_thing_area: things of fewer pixels of the canvas are small.
    """

    name = "loss_semantic"
    small_thing_weight: float = 1.0
    small_thing_area: int = 4096

    def __post_init__(self):
        super().__post_init__()
        check_at_least(0, small_thing_weight=self.small_thing_weight)

    def entropies(self, predicted: CellOutputs, truth: CellTargets, match: Match) -> Tensor:
        logits, classes = predicted.pixel_logits[None], truth.semantic[None]
        entropies = F.cross_entropy(logits, classes, ignore_index=IGNORE, reduction="none")[0]
        if self.small_thing_weight != 1:
            small = truth.is_thing & (truth.areas < self.small_thing_area)
            entropies = entropies * (1 + (self.small_thing_weight - 1) * truth.masks[small].sum(0))
        return entropies


def mean_of_nonzero(losses: Tensor, hardest: float = 1.0) -> Tensor:
    """The sum of the losses by the number of those that are not 0 (deeplab2); 0 without any.

    Args:
        losses: (P,).
        hardest: the share of the P losses, the largest ones, that is counted; one at least is.
    """
    if hardest < 1:
        losses = losses.topk(max(1, round(hardest * len(losses)))).values
    return losses.sum() / (losses != 0).sum().clamp(min=1)
