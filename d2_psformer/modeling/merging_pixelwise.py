"""Mergings that decide pixel by pixel, which the paper compares with its own (table of merging).

They are called like :class:`~d2_psformer.modeling.merging.MaskWiseMerging`; their score is the
class probability alone.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .merging import Segment


@dataclass(frozen=True)
class PixelArgmaxMerging:
    """Every pixel goes to its highest mask.

    Attributes:
        score_threshold: candidates of a lower class probability are dropped first.
        mask_threshold: a pixel where no mask is above this is void.
    """

    score_threshold: float = 0.25
    mask_threshold: float = 0.5

    def score(self, masks: Tensor, class_scores: Tensor) -> Tensor:
        """(N, H, W) and (N,) -> (N,): the class probabilities."""
        return class_scores

    def may_stay(self, small_masks: Tensor, class_scores: Tensor) -> Tensor:
        """(N,) bool: whether a candidate can matter; masks (N, h, w) before the resize."""
        peak = small_masks.flatten(1).amax(1).float() * (1 + 1e-4)  # room for rounding
        return (class_scores >= self.score_threshold) & (peak > self.mask_threshold)

    def __call__(
        self, masks: Tensor, scores: Tensor, is_thing: Tensor
    ) -> tuple[Tensor, list[Segment]]:
        """Masks (N, H, W), scores (N,), is_thing (N,) -> id map (H, W) int32, 0 = void; its ids.

        The best segment has id 1.
        """
        order = best_first(scores, self.score_threshold)
        if not len(order):
            return nobodys(masks), []
        highest, winner = masks[order].max(0)
        ids = torch.where(highest > self.mask_threshold, winner + 1, 0)
        counts = ids.flatten().bincount(minlength=len(order) + 1)[1:]
        return label(ids, counts > 0, order, scores, counts)


@dataclass(frozen=True)
class MaskFormerMerging:
    """Every pixel goes to the highest product of class probability and mask (MaskFormer).

    Masks count as at most 1, as MaskFormer's are. A segment that won too little of its own mask is
    dropped, and what it won is void.

    Attributes:
        score_threshold: candidates of a lower class probability are dropped first.
        mask_threshold: pixels from this on belong to a mask.
        thing_overlap_threshold, stuff_overlap_threshold: drop a segment when the pixels that it
            won are fewer than those of its mask by more than this share.
    """

    score_threshold: float = 0.25
    mask_threshold: float = 0.5
    thing_overlap_threshold: float = 0.4
    stuff_overlap_threshold: float = 0.2

    def score(self, masks: Tensor, class_scores: Tensor) -> Tensor:
        """(N, H, W) and (N,) -> (N,): the class probabilities."""
        return class_scores

    def may_stay(self, small_masks: Tensor, class_scores: Tensor) -> Tensor:
        """(N,) bool: whether a candidate can matter; low masks do, they win pixels from others."""
        return class_scores >= self.score_threshold

    def __call__(
        self, masks: Tensor, scores: Tensor, is_thing: Tensor
    ) -> tuple[Tensor, list[Segment]]:
        """Masks (N, H, W), scores (N,), is_thing (N,) -> id map (H, W) int32, 0 = void; its ids.

        The best segment has id 1.
        """
        order = best_first(scores, self.score_threshold)
        if not len(order):
            return nobodys(masks), []
        candidates = masks[order]
        product = scores[order, None, None] * candidates.clamp(max=1)
        ids = product.argmax(0) + 1
        won = ids.flatten().bincount(minlength=len(order) + 1)[1:]
        own = (candidates >= self.mask_threshold).sum((1, 2))
        limits = torch.where(
            is_thing[order], self.thing_overlap_threshold, self.stuff_overlap_threshold
        )
        keep = (won > 0) & (own > 0) & (won >= (1 - limits) * own)
        return label(ids, keep, order, scores, won)


def best_first(scores: Tensor, threshold: float) -> Tensor:
    """Indices (K,) of the candidates that reach the threshold."""
    ranked = scores.sort(descending=True, stable=True)
    return ranked.indices[ranked.values >= threshold]


def nobodys(masks: Tensor) -> Tensor:
    """A map of masks (N, H, W) where all is void."""
    return torch.zeros(masks.shape[1:], dtype=torch.int32, device=masks.device)


def label(
    ids: Tensor, keep: Tensor, order: Tensor, scores: Tensor, areas: Tensor
) -> tuple[Tensor, list[Segment]]:
    """Number the segments that are kept 1, 2, …; the others become void.

    Args:
        ids: (H, W) long, 0 = void, else 1 + the place of the winner in ``order``.
        keep: (K,) bool.
        order: (K,) candidates.
        scores: (N,) of all candidates.
        areas: (K,) pixels.
    """
    table = torch.zeros(len(order) + 1, dtype=torch.int32, device=ids.device)
    table[1:][keep] = torch.arange(1, int(keep.sum()) + 1, dtype=torch.int32, device=ids.device)
    rows = zip(
        order[keep].tolist(), scores[order][keep].tolist(), areas[keep].tolist(), strict=True
    )
    segments = [Segment(i, index, min(p, 1.0), area) for i, (index, p, area) in enumerate(rows, 1)]
    return table[ids], segments
