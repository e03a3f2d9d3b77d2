"""Terms of masks: predictions and truths are sampled by a :class:`MaskSampler`."""

from abc import abstractmethod
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from ...utils.checks import check_at_least, check_between
from .class_terms import binary_entropies, focal_entries
from .terms import Term


class MaskTerm(Term):
    """A term that compares sampled masks: predictions (Q, P) or (M, P), truths (N, P) or (M, P)."""

    reads = "masks"


class PixelMean(MaskTerm):
    """The mean, over the samples of a mask, of a loss of every sample."""

    name = "loss_mask"

    @abstractmethod
    def entries(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of every sample if it is in the mask, and if it is not."""

    def cost(self, predicted: Tensor, truth: Tensor) -> Tensor:
        """predicted: (Q, P) logits; truth: (N, P)."""
        inside, outside = self.entries(predicted)
        total = (inside - outside) @ truth.T + outside.sum(-1)[:, None]
        return total / truth.shape[1]


@dataclass(frozen=True)
class MaskFocal(PixelMean):
    """Sigmoid focal loss of masks (MaskFormer).

    Attributes:
        alpha: balance of pixels inside and outside.
        gamma: focusing exponent.
    """

    alpha: float = 0.25
    gamma: float = 2.0

    def __post_init__(self):
        super().__post_init__()
        check_between(0, 1, alpha=self.alpha)
        check_at_least(0, gamma=self.gamma)

    def entries(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        return focal_entries(logits, self.alpha, self.gamma)

    def loss(self, predicted: Tensor, truth: Tensor) -> Tensor:
        """predicted: (M, P) logits of the matched queries; truth: (M, P), 0 or 1.

        This keeps less for the backward pass than a mean of the entries, which soft truths need.
        """
        entropy = F.binary_cross_entropy_with_logits(predicted, truth, reduction="none")
        error = (truth - predicted.sigmoid()).abs()
        balance = 1 - self.alpha + (2 * self.alpha - 1) * truth
        return (balance * entropy * error**self.gamma).mean(-1).sum()


@dataclass(frozen=True)
class MaskBCE(PixelMean):
    """Binary cross-entropy of masks (Mask2Former)."""

    def entries(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        return binary_entropies(logits)

    def loss(self, predicted: Tensor, truth: Tensor) -> Tensor:
        """predicted: (M, P) logits of the matched queries; truth: (M, P) in [0, 1]."""
        entropy = F.binary_cross_entropy_with_logits(predicted, truth, reduction="none")
        return entropy.mean(-1).sum()


@dataclass(frozen=True)
class Dice(MaskTerm):
    """1 - 2 sum(p t) / (sum(p^2) + sum(t^2) + 2 eps) of mask scores p >= 0 and truths t.

    Attributes:
        cost_eps, loss_eps: of the cost and of the loss, which differ in Panoptic SegFormer.
    """

    name = "loss_dice"
    cost_eps: float = 1e-3
    loss_eps: float = 1e-6

    def cost(self, predicted: Tensor, truth: Tensor) -> Tensor:
        """predicted: (Q, P) scores; truth: (N, P)."""
        area = predicted.square().sum(-1)[:, None] + truth.square().sum(-1)
        return 1 - 2 * (predicted @ truth.T) / (area + 2 * self.cost_eps)

    def loss(self, predicted: Tensor, truth: Tensor) -> Tensor:
        """predicted: (M, P) scores of the matched queries; truth: (M, P)."""
        return dice_loss(predicted, truth, self.loss_eps).sum()


@dataclass(frozen=True)
class SigmoidDice(MaskTerm):
    """1 - (2 sum(p t) + 1) / (sum(p) + sum(t) + 1) of mask probabilities p = sigmoid(logits)."""

    name = "loss_dice"

    def cost(self, predicted: Tensor, truth: Tensor) -> Tensor:
        """predicted: (Q, P) logits; truth: (N, P)."""
        p = predicted.sigmoid()
        area = p.sum(-1)[:, None] + truth.sum(-1)
        return 1 - (2 * (p @ truth.T) + 1) / (area + 1)

    def loss(self, predicted: Tensor, truth: Tensor) -> Tensor:
        """predicted: (M, P) logits of the matched queries; truth: (M, P)."""
        p = predicted.sigmoid()
        area = p.sum(-1) + truth.sum(-1)
        return (1 - (2 * (p * truth).sum(-1) + 1) / (area + 1)).sum()


def dice_loss(masks: Tensor, targets: Tensor, eps: float = 1e-6) -> Tensor:
    """:class:`Dice` of each of N masks (N, P) with its target (N, P): (N,)."""
    area = masks.square().sum(-1) + targets.square().sum(-1)
    return 1 - 2 * (masks * targets).sum(-1) / (area + 2 * eps)
