"""Mask-wise merging: overlapping masks to one label a pixel (Panoptic SegFormer, algorithm 1)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ...utils.checks import check_at_least
from .resized_masks import BinaryMask, ResizedMasks


@dataclass(frozen=True)
class Segment:
    """One id of a merged map: the mask it came from, its score (at most 1), its pixels."""

    id: int
    index: int
    score: float
    area: int


@dataclass(frozen=True)
class MaskWiseMerging:
    """The best masks take their pixels first.

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

    def __post_init__(self):
        check_at_least(0, class_power=self.class_power, mask_power=self.mask_power)

    def score(self, masks: ResizedMasks, class_scores: Tensor) -> Tensor:
        """p^alpha q^beta, q being the mean of a mask over its pixels above the threshold.

        Args:
            masks: N of them, >= 0, unbounded.
            class_scores: (N,) p.

        Returns:
            (N,); can exceed 1, because masks can.
        """
        quality = torch.zeros_like(class_scores)
        for index, mask in masks.above(self.mask_threshold).items():
            quality[index] = mask.total / (mask.area + 1)
        return self._combined(quality, class_scores)

    def prefilter(self, masks: ResizedMasks, class_scores: Tensor) -> Tensor:
        """(N,) bool: False for masks whose segment would be dropped in any case.

        A bilinear resize raises no mask above its peak, and the mean over a part of a mask is not
        higher than the peak. Most masks need not be resized at all because of this.
        """
        peaks = masks.peaks()
        best = self._combined(peaks, class_scores)
        return (peaks > self.mask_threshold) & (best >= self.score_threshold)

    def __call__(
        self, masks: ResizedMasks, scores: Tensor, is_thing: Tensor
    ) -> tuple[Tensor, list[Segment]]:
        """Merge the masks of one image, things and stuff together.

        Args:
            masks: N of them.
            scores: (N,) of :meth:`score`.
            is_thing: (N,) bool.

        Returns:
            id map (H, W) int32, 0 = void, and a record of every id 1, 2, …
        """
        ranked = scores.sort(descending=True, stable=True)  # ties: in the order of the masks
        raw_scores = dict(zip(ranked.indices.tolist(), ranked.values.tolist(), strict=True))
        best = [index for index, score in raw_scores.items() if score >= self.score_threshold]
        limits = [
            self.thing_overlap_threshold if thing else self.stuff_overlap_threshold
            for thing in is_thing.tolist()
        ]
        id_map = torch.zeros(masks.size, dtype=torch.int32, device=masks.device)
        areas = torch.zeros(len(masks), dtype=torch.long, device=masks.device)
        last_id = id_map.new_zeros(())
        large = masks.above(self.mask_threshold)
        for index in filter(large.__contains__, best):
            area = _take_free(id_map, large[index], last_id + 1, limits[index])
            areas[index] = area
            last_id += area > 0
        areas = areas.tolist()
        kept = [index for index in best if areas[index]]
        return id_map, [
            Segment(number, index, min(raw_scores[index], 1.0), areas[index])
            for number, index in enumerate(kept, 1)
        ]

    def _combined(self, quality: Tensor, class_scores: Tensor) -> Tensor:
        # a class score of 0 times an infinite power would be NaN
        largest = torch.finfo(quality.dtype).max
        return class_scores**self.class_power * (quality**self.mask_power).clamp(max=largest)


def _take_free(ids: Tensor, mask: BinaryMask, new_id: Tensor, most_taken: float) -> Tensor:
    """Give ``new_id`` to the free pixels of a mask and return their number.

    A mask gets none if a share above ``most_taken`` is no longer free. This is decided on the
    device, so that the CPU does not wait for it.
    """
    ids = ids[mask.box]
    free = mask.pixels & (ids == 0)
    area = free.sum()
    share_taken = (mask.area - area) / mask.area.double()  # as Python divides
    kept = (area > 0) & (share_taken <= most_taken)
    ids += free * (new_id * kept)
    return area * kept
