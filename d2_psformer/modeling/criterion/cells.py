"""Predictions and ground truth of one image at the cells of the predicted maps (MaX-DeepLab)."""

from dataclasses import dataclass, replace

from torch import Tensor

from ..outputs import SegmenterOutputs
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
        full_masks: (N, H, W) bool on the canvas.
        masks: (N, P) float32, 0 or 1. A cell of several segments belongs to the first; segments
            without a cell stay as empty rows.
        semantic: (P,) long, the class of every cell or IGNORE. A crowd's cells have a class, but
            belong to no segment.
    """

    classes: Tensor
    is_thing: Tensor
    full_masks: Tensor
    masks: Tensor
    semantic: Tensor

    @classmethod
    def of(cls, targets: Targets, stride: int) -> "CellTargets":
        sem_seg = None if targets.sem_seg is None else targets.sem_seg[::stride, ::stride]
        cells = replace(targets, masks=targets.masks[:, ::stride, ::stride], sem_seg=sem_seg)
        masks = cells.masks.flatten(1)
        return cls(
            targets.classes,
            targets.is_thing,
            targets.masks,
            (masks & (masks.cumsum(0) == 1)).float(),
            cells.semantic.flatten(),
        )

    @property
    def areas(self) -> Tensor:
        """(N,) long, pixels of the canvas."""
        return self.full_masks.flatten(1).sum(1)

    @property
    def labelled(self) -> Tensor:
        """(P,) of the masks' type: 1 at the cells that have a class."""
        return (self.semantic != IGNORE).to(self.masks.dtype)

    @property
    def seen(self) -> Tensor:
        """(M,) long: the segments that have a cell."""
        return self.masks.any(1).nonzero().flatten()


def number_cells(masks: Tensor, numbers: Tensor) -> Tensor:
    """The number of the mask that a cell belongs to, -1 where there is none: (P,) long.

    Args:
        masks: (N, P) float, 0 or 1, disjoint.
        numbers: (N,).
    """
    return ((numbers + 1).to(masks.dtype) @ masks).long() - 1
