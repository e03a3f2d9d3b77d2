"""Term: a matching cost and a loss of one kind, from one definition."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...utils.checks import check_at_least
from .targets import MatchedTargets, Targets


@dataclass(frozen=True)
class Term(ABC):
    """
    The cost times ``cost_weight`` is what the matcher adds up; the loss times ``weight`` is what is
    learned from. Every class reads one list of :class:`QueryOutputs`, named by ``reads``. The truth
    of a term that reads masks is sampled where the predictions are: (N, P) in [0, 1].

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
    def cost(self, predicted: Tensor, truth: Targets | Tensor) -> Tensor:
        """Cost of all pairs of Q queries and N segments of one image: (Q, N)."""

    @abstractmethod
    def loss(self, predicted: Tensor, truth: MatchedTargets | Tensor) -> Tensor:
        """Sum over the matched pairs, a scalar."""

    def divisor(
        self, predicted: Tensor, truth: MatchedTargets, num_segments: Tensor | float
    ) -> Tensor | float:
        """What :class:`SetCriterion` divides the loss of a batch by."""
        return num_segments
