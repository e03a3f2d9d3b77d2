"""Mergings that decide pixel by pixel: the plain argmax, and that of MaskFormer and Mask2Former.

They are called like :class:`.MaskWiseMerging`. Their score is the class probability alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..outputs import LOGIT
from .mask_wise import Segment
from .resized_masks import Box, ResizedMasks


@dataclass(frozen=True)
class PixelArgmaxMerging:
    """Every pixel goes to its highest mask.

    Attributes:
        score_threshold: masks of a lower class probability are dropped first.
        mask_threshold: a pixel where no mask is above this is void.
    """

    score_threshold: float = 0.25
    mask_threshold: float = 0.5

    def score(self, masks: ResizedMasks, class_scores: Tensor) -> Tensor:
        """N masks and (N,) -> (N,): the class probabilities."""
        return class_scores

    def prefilter(self, masks: ResizedMasks, class_scores: Tensor) -> Tensor:
        """(N,) bool: False for masks that cannot own a pixel of the result."""
        return (class_scores >= self.score_threshold) & (masks.peaks() > self.mask_threshold)

    def __call__(
        self, masks: ResizedMasks, scores: Tensor, is_thing: Tensor
    ) -> tuple[Tensor, list[Segment]]:
        """N masks, scores (N,), is_thing (N,) -> id map (H, W) int32, 0 = void; its ids.

        The best segment has id 1.
        """
        order = _best_first(scores, self.score_threshold)
        contest = _Contest(masks, self.mask_threshold)
        for place, box, values in _in_order(masks, self.mask_threshold, order):
            contest.enter(place, box, values)
        won = contest.won(len(order))
        return label(contest.winner, won > 0, order, scores, won)


@dataclass(frozen=True)
class MaskFormerMerging:
    """Every pixel goes to the highest product of class probability and mask.

    Masks count as at most 1, and the first of several equal products wins. Where all products are
    0, a pixel is void; if masks are logits, it goes to the first of them, as in the official code
    (a sigmoid is never 0, but can be too low for float32). A segment that won too little of its own
    mask is dropped, and what it won is void.

    Attributes:
        score_threshold: masks of a class probability up to this are dropped first.
        mask_threshold: pixels from this on belong to a mask.
        thing_overlap_threshold, stuff_overlap_threshold: drop a segment when the pixels that it
            won are fewer than those of its mask by more than this share.
        within_mask: a segment gets those of its pixels alone that belong to its mask (Mask2Former);
            else all that it won (MaskFormer).
    """

    score_threshold: float = 0.25
    mask_threshold: float = 0.5
    thing_overlap_threshold: float = 0.4
    stuff_overlap_threshold: float = 0.2
    within_mask: bool = False

    def score(self, masks: ResizedMasks, class_scores: Tensor) -> Tensor:
        """N masks and (N,) -> (N,): the class probabilities."""
        return class_scores

    def prefilter(self, masks: ResizedMasks, class_scores: Tensor) -> Tensor:
        """(N,) bool: False for masks that cannot own a pixel; low masks can."""
        return class_scores > self.score_threshold

    def __call__(
        self, masks: ResizedMasks, scores: Tensor, is_thing: Tensor
    ) -> tuple[Tensor, list[Segment]]:
        """N masks, scores (N,), is_thing (N,) -> id map (H, W) int32, 0 = void; its ids.

        Ids are in the order of the masks.
        """
        order = self.prefilter(masks, scores).nonzero()[:, 0]
        probabilities = scores[order].tolist()
        own = torch.zeros(len(order), dtype=torch.long, device=masks.device)
        within = torch.zeros(masks.size, dtype=torch.bool, device=masks.device)
        contest = _Contest(masks, 0.0)
        if masks.kind == LOGIT and len(order):
            contest.winner.fill_(1)
        for place, box, values in _in_order(masks, 0.0, order):
            large = values >= self.mask_threshold
            own[place] = large.count_nonzero()
            better = contest.enter(place, box, probabilities[place] * values.clamp(max=1))
            within[box] = (within[box] & ~better) | (large & better)
        won = areas = contest.won(len(order))
        if self.within_mask:
            contest.winner *= within
            areas = contest.won(len(order))
        share = won / own.double()  # as Python divides
        lost = share.new_tensor([self.stuff_overlap_threshold, self.thing_overlap_threshold])
        keep = (areas > 0) & (own > 0) & (share >= 1 - lost[is_thing[order].long()])
        return label(contest.winner, keep, order, scores, areas)


class _Contest:
    """Who has the highest value at each pixel; the first of several equal ones wins.

    Args:
        floor: a pixel where no value is above this has no winner.
    """

    def __init__(self, masks: ResizedMasks, floor: float):
        self.highest = torch.full(masks.size, floor, device=masks.device)
        # 1 + the place of the winner, 0 for void
        self.winner = torch.zeros(masks.size, dtype=torch.int32, device=masks.device)

    def enter(self, place: int, box: Box, values: Tensor) -> Tensor:
        """Let the values of a box compete; True in the result where they are the highest now.

        Places must rise from call to call.
        """
        highest, winner = self.highest[box], self.winner[box]
        better = values > highest
        torch.maximum(highest, values, out=highest)
        torch.maximum(winner, better.int().mul_(place + 1), out=winner)  # faster than a selection
        return better

    def won(self, places: int) -> Tensor:
        """Pixels of each place, (places,)."""
        return self.winner.flatten().bincount(minlength=places + 1)[1:]


def _best_first(scores: Tensor, threshold: float) -> Tensor:
    """Indices (K,) of the masks that reach the threshold."""
    ranked = scores.sort(descending=True, stable=True)
    return ranked.indices[ranked.values >= threshold]


def _in_order(
    masks: ResizedMasks, threshold: float, order: Tensor
) -> Iterator[tuple[int, Box, Tensor]]:
    """Place in the order, box and values of the masks that have pixels above the threshold."""
    places = {index: place for place, index in enumerate(order.tolist())}
    for index, box, values in masks.regions(threshold, list(places)):
        yield places[index], box, values


def label(
    ids: Tensor, keep: Tensor, order: Tensor, scores: Tensor, areas: Tensor
) -> tuple[Tensor, list[Segment]]:
    """Number the segments that are kept 1, 2, …; the others become void.

    Args:
        ids: (H, W) int32, 0 = void, else 1 + the place of the winner in ``order``.
        keep: (K,) bool.
        order: (K,) indices of masks.
        scores: (N,) of all masks.
        areas: (K,) pixels.
    """
    table = torch.zeros(len(order) + 1, dtype=torch.int32, device=ids.device)
    table[1:][keep] = torch.arange(1, int(keep.sum()) + 1, dtype=torch.int32, device=ids.device)
    rows = zip(
        order[keep].tolist(), scores[order][keep].tolist(), areas[keep].tolist(), strict=True
    )
    segments = [Segment(i, index, min(p, 1.0), area) for i, (index, p, area) in enumerate(rows, 1)]
    return table[ids.long()], segments
