"""Mask-wise merging as the official code does it, in four stages: the peer of the benchmark.

Every candidate becomes a float mask of the whole image, and the loop asks the device for two
numbers a segment.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from d2_psformer.modeling.merging import MaskWiseMerging
from torch import Tensor


@dataclass(frozen=True)
class Candidates:
    """What merging gets: small masks (N, h, w), class scores (N,), is_thing (N,), the size."""

    masks: Tensor
    scores: Tensor
    is_thing: Tensor
    size: tuple[int, int]


@dataclass(frozen=True)
class PlainMerging:
    """One id map (H, W) int64 from candidates, by the thresholds of ``rules``."""

    rules: MaskWiseMerging

    def stages(self) -> dict:
        return {
            "resize": self.resize,
            "score": self.score,
            "sort": self.sort,
            "loop": self.loop,
        }

    def resize(self, given: Candidates) -> Candidates:
        masks = F.interpolate(given.masks[None].float(), given.size, mode="bilinear")[0]
        return Candidates(masks, given.scores, given.is_thing, given.size)

    def score(self, large: Candidates) -> tuple[Candidates, Tensor]:
        inside = large.masks > self.rules.mask_threshold
        sums = (large.masks * inside.float()).sum((1, 2))
        quality = sums / (inside.sum((1, 2)).float() + 1)
        p = large.scores**self.rules.class_power
        return large, p * quality**self.rules.mask_power

    def sort(self, scored: tuple[Candidates, Tensor]) -> tuple[Candidates, Tensor]:
        large, scores = scored
        scores, order = scores.sort(descending=True, stable=True)
        best_first = Candidates(large.masks[order], scores, large.is_thing[order], large.size)
        return best_first, order

    def loop(self, ranked: tuple[Candidates, Tensor]) -> tuple[Tensor, list[int]]:
        """The map, and the candidate of every id."""
        large, order = ranked
        id_map = torch.zeros(large.size, dtype=torch.long, device=large.masks.device)
        winners: list[int] = []
        for i, score in enumerate(large.scores):
            if score < self.rules.score_threshold:
                continue
            mask = large.masks[i] > self.rules.mask_threshold
            area = mask.sum().item()
            taken = (mask & (id_map > 0)).sum().item()
            limit = (
                self.rules.thing_overlap_threshold
                if large.is_thing[i]
                else self.rules.stuff_overlap_threshold
            )
            if area == taken or taken / area > limit:  # an empty mask, too
                continue
            if taken:
                mask = mask & (id_map == 0)
            winners.append(order[i].item())
            id_map[mask] = len(winners)
        return id_map, winners
