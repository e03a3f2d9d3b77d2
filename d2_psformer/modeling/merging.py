"""From overlapping masks to one label a pixel."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Segment:
    """One id of a merged map: the candidate it came from, its score (at most 1), its pixels."""

    id: int
    index: int
    score: float
    area: int


@dataclass(frozen=True)
class MaskWiseMerging:
    """Mask-wise merging (paper, algorithm 1): the best masks take their pixels first.

    Attributes:
        class_power, mask_power: alpha and beta of the score p^alpha q^beta.
        score_threshold: segments that score lower are dropped.
        mask_threshold: pixels above this belong to a mask.
        thing_overlap_threshold, stuff_overlap_threshold: drop a segment when more than this share
            of it is already taken.
    """

    class_power: float = 1.0
    mask_power: float = 2.0
    score_threshold: float = 0.25
    mask_threshold: float = 0.5
    thing_overlap_threshold: float = 0.4
    stuff_overlap_threshold: float = 0.2

    def score(self, masks: Tensor, class_scores: Tensor) -> Tensor:
        """p^alpha q^beta, q being the mean of a mask over its pixels above the threshold.

        Args:
            masks: (N, H, W) >= 0, unbounded.
            class_scores: (N,) p.

        Returns:
            (N,); can exceed 1, because masks can.
        """
        inside = masks > self.mask_threshold
        quality = (masks * inside).sum((1, 2)) / (inside.sum((1, 2)) + 1)
        return self._combined(quality, class_scores)

    def may_stay(self, small_masks: Tensor, class_scores: Tensor) -> Tensor:
        """Whether candidates can end up as segments once their masks are resized.

        A bilinear resize raises no mask above its peak, and no mean above the threshold is higher
        than the peak. Most candidates are told by this to be hopeless before they are made large.

        Args:
            small_masks: (N, h, w), to be resized.
            class_scores: (N,).

        Returns:
            (N,) bool.
        """
        peak = small_masks.flatten(1).amax(1).float() * (1 + 1e-4)  # room for rounding
        best = self._combined(peak, class_scores)
        return (peak > self.mask_threshold) & (best >= self.score_threshold)

    def __call__(
        self, masks: Tensor, scores: Tensor, is_thing: Tensor
    ) -> tuple[Tensor, list[Segment]]:
        """Merge the candidates of one image, things and stuff together.

        Args:
            masks: (N, H, W).
            scores: (N,) of :meth:`score`.
            is_thing: (N,) bool.

        Returns:
            id map (H, W) int32, 0 = void, and a record of every id 1, 2, …
        """
        id_map = torch.zeros(masks.shape[1:], dtype=torch.int32, device=masks.device)
        segments: list[Segment] = []
        things = is_thing.tolist()
        ranked = scores.sort(descending=True, stable=True)  # ties: in the order of the candidates
        for score, index in zip(ranked.values.tolist(), ranked.indices.tolist(), strict=True):
            if score < self.score_threshold:
                break
            mask = masks[index] > self.mask_threshold
            free = mask & (id_map == 0)
            area, free_area = int(mask.sum()), int(free.sum())
            limit = self.thing_overlap_threshold if things[index] else self.stuff_overlap_threshold
            if free_area == 0 or (area - free_area) / area > limit:
                continue
            segments.append(Segment(len(segments) + 1, index, min(score, 1.0), free_area))
            id_map[free] = segments[-1].id
        return id_map, segments

    def _combined(self, quality: Tensor, class_scores: Tensor) -> Tensor:
        return class_scores**self.class_power * quality**self.mask_power
