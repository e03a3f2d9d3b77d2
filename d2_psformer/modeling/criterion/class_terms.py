"""Terms of classes."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...utils.checks import check_at_least, check_between
from .counts import mean_over_processes
from .targets import MatchedTargets, Targets
from .terms import Term


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

    def cost(self, predicted: Tensor, truth: Targets) -> Tensor:
        """predicted: (Q, K)."""
        positive, negative = focal_entries(predicted, self.alpha, self.gamma)
        return (positive - negative)[:, truth.classes]

    def loss(self, predicted: Tensor, truth: MatchedTargets) -> Tensor:
        """predicted: (B, Q, K), all queries of the batch."""
        is_positive = torch.zeros_like(predicted, dtype=torch.bool)
        is_positive[truth.images, truth.queries, truth.classes] = True
        return torch.where(is_positive, *focal_entries(predicted, self.alpha, self.gamma)).sum()


@dataclass(frozen=True)
class CrossEntropyClass(Term):
    """Cross-entropy over K classes and "no object", the last entry, which unmatched queries learn.

    The cost is minus the probability of the class (DETR). The loss is a mean, weighted by class.

    Attributes:
        no_object_weight: weight of "no object"; the classes have weight 1.
        global_weight: divide by the mean over the processes of their sums of weights, so that
            several processes learn what one with the whole batch does; False: each by its own sum,
            as the official MaskFormer and Mask2Former do.
    """

    name = "loss_ce"
    reads = "logits"
    no_object_weight: float = 0.1
    global_weight: bool = False

    def __post_init__(self):
        super().__post_init__()
        check_at_least(0, no_object_weight=self.no_object_weight)

    def cost(self, predicted: Tensor, truth: Targets) -> Tensor:
        """predicted: (Q, K + 1)."""
        return -predicted.softmax(-1)[:, truth.classes]

    def loss(self, predicted: Tensor, truth: MatchedTargets) -> Tensor:
        """predicted: (B, Q, K + 1), all queries of the batch."""
        no_object = predicted.shape[-1] - 1
        classes = torch.full_like(predicted[..., 0], no_object, dtype=torch.long)
        classes[truth.images, truth.queries] = truth.classes
        weights = torch.ones_like(predicted[0, 0])
        weights[no_object] = self.no_object_weight
        return F.cross_entropy(predicted.flatten(0, 1), classes.flatten(), weights, reduction="sum")

    def divisor(
        self, predicted: Tensor, truth: MatchedTargets, num_segments: Tensor | float
    ) -> Tensor:
        """The sum of the weights of all queries, above 0 where no query has one."""
        matched, queries = len(truth.queries), predicted[..., 0].numel()
        total = predicted.new_tensor(matched + self.no_object_weight * (queries - matched))
        total = mean_over_processes(total) if self.global_weight else total
        return total.clamp(min=torch.finfo(total.dtype).tiny)


def focal_entries(logits: Tensor, alpha: float, gamma: float) -> tuple[Tensor, Tensor]:
    """The focal loss of every entry if it is a positive, and if it is a negative."""
    p = logits.sigmoid()
    positive, negative = binary_entropies(logits)
    return alpha * (1 - p) ** gamma * positive, (1 - alpha) * p**gamma * negative


def binary_entropies(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The binary cross-entropy of every entry if it is a positive, and if it is a negative.

    On a CPU this takes a fifth of the time of softplus, which log1p makes slow. Values are exact to
    1e-7, and gradients as exact as those of softplus.
    """
    size = logits.abs()
    rest = torch.log(1 + torch.exp(-size))
    return rest + (size - logits) / 2, rest + (size + logits) / 2
