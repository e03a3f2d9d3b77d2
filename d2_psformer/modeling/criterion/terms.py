"""Terms: a matching cost and a loss of one kind, from one definition.

The cost of a term times its ``cost_weight`` is what the matcher adds up; its loss times its
``weight`` is what is learned from. Every class reads one list of :class:`QueryOutputs`, named by
``reads``. Costs take the outputs of one image for it and the image's :class:`Targets`; losses take
those of a batch and its :class:`MatchedTargets`. Losses are plain sums, which
:class:`SetCriterion` divides by the number of segments.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ...layers import box_cxcywh_to_xyxy, generalized_box_iou
from ...utils.checks import check_at_least, check_between
from .targets import MatchedTargets, Targets


@dataclass(frozen=True)
class Term(ABC):
    """
    Attributes:
        weight: factor of the loss.
        cost_weight: factor of the matching cost.
    """

    name: ClassVar[str]
    reads: ClassVar[str]
    weight: float
    cost_weight: float

    def __post_init__(self):
        check_at_least(0, **{f"weight of {self.name}": self.weight})
        check_at_least(0, **{f"cost weight of {self.name}": self.cost_weight})

    @abstractmethod
    def cost(self, predicted: Tensor, target: Targets) -> Tensor:
        """Cost of all pairs of Q queries and N segments of one image: (Q, N)."""

    @abstractmethod
    def loss(self, predicted: Tensor, matched: MatchedTargets) -> Tensor:
        """Sum over a batch, a scalar."""


@dataclass(frozen=True)
class FocalClass(Term):
    """Sigmoid focal loss of classes (Lin et al. 2017); unmatched queries are negatives.

    Attributes:
        alpha: balance of positives and negatives.
        gamma: focusing exponent.
    """

    name = "loss_ce"
    reads = "logits"
    alpha: float = 0.25
    gamma: float = 2.0

    def __post_init__(self):
        super().__post_init__()
        check_between(0, 1, alpha=self.alpha)
        check_at_least(0, gamma=self.gamma)

    def cost(self, predicted: Tensor, target: Targets) -> Tensor:
        """predicted: (Q, K)."""
        positive, negative = self._entries(predicted)
        return (positive - negative)[:, target.classes]

    def loss(self, predicted: Tensor, matched: MatchedTargets) -> Tensor:
        """predicted: (B, Q, K), all queries of the batch."""
        is_positive = torch.zeros_like(predicted, dtype=torch.bool)
        is_positive[matched.images, matched.queries, matched.classes] = True
        return torch.where(is_positive, *self._entries(predicted)).sum()

    def _entries(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of every entry if it is a positive, and if it is a negative."""
        p = logits.sigmoid()
        positive = self.alpha * (1 - p) ** self.gamma * F.softplus(-logits)
        negative = (1 - self.alpha) * p**self.gamma * F.softplus(logits)
        return positive, negative


@dataclass(frozen=True)
class BoxL1(Term):
    """L1 distance of normalised boxes (cx, cy, w, h)."""

    name = "loss_bbox"
    reads = "boxes"

    def cost(self, predicted: Tensor, target: Targets) -> Tensor:
        """predicted: (Q, 4)."""
        return (predicted[:, None] - target.boxes).abs().sum(-1)

    def loss(self, predicted: Tensor, matched: MatchedTargets) -> Tensor:
        """predicted: (M, 4) of the matched queries."""
        return (predicted - matched.boxes).abs().sum()


@dataclass(frozen=True)
class BoxOverlap(Term):
    """1 - generalised IoU of boxes, taken in pixels of the valid image as in the reference."""

    name = "loss_giou"
    reads = "boxes"

    def cost(self, predicted: Tensor, target: Targets) -> Tensor:
        """predicted: (Q, 4)."""
        return 1 - _giou_in_pixels(predicted[:, None], target.boxes, target.scale)

    def loss(self, predicted: Tensor, matched: MatchedTargets) -> Tensor:
        """predicted: (M, 4) of the matched queries."""
        return (1 - _giou_in_pixels(predicted, matched.boxes, matched.scale)).sum()


@dataclass(frozen=True)
class Dice(Term):
    """1 - 2 sum(p t) / (sum(p^2) + sum(t^2) + 2 eps) of mask scores p >= 0 and targets t.

    Attributes:
        cost_eps, loss_eps: of the cost and of the loss, which differ in the reference.
    """

    name = "loss_dice"
    reads = "masks"
    cost_eps: float = 1e-3
    loss_eps: float = 1e-6

    def cost(self, predicted: Tensor, target: Targets) -> Tensor:
        """predicted: (Q, P) sampled masks; ``target.masks`` is (N, P)."""
        common = predicted @ target.masks.T
        area = predicted.square().sum(-1)[:, None] + target.masks.square().sum(-1)
        return 1 - 2 * common / (area + 2 * self.cost_eps)

    def loss(self, predicted: Tensor, matched: MatchedTargets) -> Tensor:
        """predicted: (M, P) sampled masks of the matched queries; ``matched.masks`` is (M, P)."""
        return dice_loss(predicted, matched.masks, self.loss_eps).sum()


def dice_loss(masks: Tensor, targets: Tensor, eps: float = 1e-6) -> Tensor:
    """Dice loss of each of N masks (N, P) with its target (N, P): (N,)."""
    area = masks.square().sum(-1) + targets.square().sum(-1)
    return 1 - 2 * (masks * targets).sum(-1) / (area + 2 * eps)


def _giou_in_pixels(a: Tensor, b: Tensor, scale: Tensor) -> Tensor:
    return generalized_box_iou(box_cxcywh_to_xyxy(a) * scale, box_cxcywh_to_xyxy(b) * scale)
