"""Predictions and ground truth of one image at the cells of the predicted maps (MaX-DeepLab)."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from ...utils.checks import check_at_least
from ..outputs import SegmenterOutputs
from .matcher import Match
from .targets import IGNORE, Targets


@dataclass(frozen=True)
class CellOutputs:
    """What Q slots and P cells predict for one image.

    Attributes:
        logits: (Q, K + 1) of the classes and "no object".
        log_shares: (Q, P) logarithms of the slots' shares of every cell.
        pixel_logits: (C, P) of the classes; None where there are none.
        embedding: (D, P), of unit length at every cell; None where there is none.
    """

    logits: Tensor
    log_shares: Tensor
    pixel_logits: Tensor | None = None
    embedding: Tensor | None = None

    @classmethod
    def of(cls, outputs: SegmenterOutputs, image: int) -> "CellOutputs":
        """In float32. The outputs have one set of queries."""
        [queries] = outputs.queries.values()
        slots = queries.of_image(image)
        maps = [outputs.pixel_logits[-1] if outputs.pixel_logits else None, outputs.pixel_embedding]
        return cls(
            slots.logits.float(),
            slots.masks.float().flatten(1).log_softmax(0),
            *(None if x is None else x[image].float().flatten(1) for x in maps),
        )

    @property
    def shares(self) -> Tensor:
        """(Q, P)."""
        return self.log_shares.exp()


@dataclass(frozen=True)
class CellTargets:
    """What :class:`Targets` say of the P cells, which are every ``stride``-th pixel of both axes.

    Attributes:
        classes: (N,) long, contiguous class ids.
        is_thing: (N,) bool.
        areas: (N,) long, pixels of the canvas.
        masks: (N, P) float32, 0 or 1. A cell of several segments belongs to the first; segments
            without a cell stay as empty rows.
        semantic: (P,) long, the class of every cell or IGNORE. A crowd's cells have a class, but
            belong to no segment.
    """

    classes: Tensor
    is_thing: Tensor
    areas: Tensor
    masks: Tensor
    semantic: Tensor

    @classmethod
    def of(cls, targets: Targets, stride: int) -> "CellTargets":
        masks = targets.masks[:, ::stride, ::stride].flatten(1)
        return cls(
            targets.classes,
            targets.is_thing,
            targets.masks.flatten(1).sum(1),
            (masks & (masks.cumsum(0) == 1)).float(),
            targets.semantic[::stride, ::stride].flatten(),
        )

    @property
    def labelled(self) -> Tensor:
        """(P,) of the masks' type: 1 at the cells that have a class."""
        return (self.semantic != IGNORE).to(self.masks.dtype)

    @property
    def seen(self) -> Tensor:
        """(M,) long: the segments that have a cell."""
        return self.masks.any(1).nonzero().flatten()


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


def number_cells(masks: Tensor, numbers: Tensor) -> Tensor:
    """The number of the mask that a cell belongs to, -1 where there is none: (P,) long.

    Args:
        masks: (N, P) float, 0 or 1, disjoint.
        numbers: (N,).
    """
    return ((numbers + 1).to(masks.dtype) @ masks).long() - 1


def mean_of_nonzero(losses: Tensor, hardest: float = 1.0) -> Tensor:
    """The sum of the losses by the number of those that are not 0 (deeplab2); 0 without any.

    Args:
        losses: (P,).
        hardest: the share of the P losses, the largest ones, that is counted.
    """
    if hardest < 1:
        losses = losses.topk(round(hardest * len(losses))).values
    return losses.sum() / (losses != 0).sum().clamp(min=1)
