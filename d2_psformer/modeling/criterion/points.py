"""Masks compared at random points (Mask2Former; PointRend, Kirillov et al. 2020)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ...utils.checks import check_at_least, check_share
from .masks import MaskSampler, Sample
from .targets import Targets


@dataclass(frozen=True)
class UniformPoints(MaskSampler):
    """Points of the whole image, the same ones for all masks of an image: for matching.

    Attributes:
        num_points: of every image.
        count_padding: draw from the whole canvas, not from the valid image alone.
        rand: ``rand(shape, device=device)`` gives uniform numbers in [0, 1).
    """

    num_points: int = 12544
    count_padding: bool = False
    rand: Callable[..., Tensor] = torch.rand

    def __post_init__(self):
        check_at_least(1, num_points=self.num_points)

    def prepare(self, targets: list[Targets], size: tuple[int, int]) -> Sample:
        return partial(self._sample, targets=targets)

    def _sample(
        self, predicted: list[Tensor], targets: list[Targets]
    ) -> list[tuple[Tensor, Tensor]]:
        """One draw (1, P, 2) an image."""
        pairs = []
        for masks, target in zip(predicted, targets, strict=True):
            points = self._draw(self.num_points, 1, self._extent(target))
            pairs.append((read_logits(masks[None], points)[0], read_truths(target.masks, points)))
        return pairs

    def _extent(self, target: Targets) -> Tensor:
        """(2,): the part of the canvas that points come from, along x and y."""
        height, width = canvas = target.masks.shape[-2:]
        rows, columns = canvas if self.count_padding else target.image_size
        return target.boxes.new_tensor([columns / width, rows / height])

    def _draw(self, count: int, masks: int, extent: Tensor) -> Tensor:
        """(masks, count, 2) points x, y of the canvas, as shares of its sides."""
        return self.rand((masks, count, 2), device=extent.device) * extent


@dataclass(frozen=True)
class UncertainPoints(UniformPoints):
    """Points of its own for every mask, most of them where the prediction is uncertain: for losses.

    Of ``oversample_ratio`` times as many uniform points those of the smallest absolute logit are
    kept; the rest is uniform.

    Attributes:
        num_points: of every mask.
        oversample_ratio: points that are drawn for one that is kept.
        importance_sample_ratio: share of the points that is chosen so.
    """

    oversample_ratio: float = 3.0
    importance_sample_ratio: float = 0.75

    def __post_init__(self):
        super().__post_init__()
        check_at_least(1, oversample_ratio=self.oversample_ratio)
        check_share(importance_sample_ratio=self.importance_sample_ratio)

    def _sample(
        self, predicted: list[Tensor], targets: list[Targets]
    ) -> list[tuple[Tensor, Tensor]]:
        """One pair for the batch. Draws (M, ratio * P, 2), then the rest, for M masks."""
        counts = [len(target) for target in targets]
        extents = torch.cat([self._extent(t).expand(len(t), 1, 2) for t in targets])
        masks = torch.cat(predicted)[:, None]
        points = self._choose(masks.detach(), extents)
        truths = [
            read_truths(target.masks, part)
            for target, part in zip(targets, points.split(counts), strict=True)
        ]
        return [(read_logits(masks, points)[:, 0], torch.cat(truths))]

    def _choose(self, masks: Tensor, extents: Tensor) -> Tensor:
        """(M, P, 2) for masks (M, 1, h, w)."""
        kept = int(self.importance_sample_ratio * self.num_points)
        points = self._draw(int(self.oversample_ratio * self.num_points), len(masks), extents)
        certainty = read_logits(masks, points)[:, 0].abs()
        chosen = certainty.topk(kept, largest=False, sorted=False).indices
        points = points.gather(1, chosen[..., None].expand(-1, -1, 2))
        return torch.cat([points, self._draw(self.num_points - kept, len(masks), extents)], dim=1)


def read_logits(masks: Tensor, points: Tensor) -> Tensor:
    """Maps (N, C, h, w) at points (N, P, 2), bilinear, zero outside: (N, C, P)."""
    return F.grid_sample(masks, 2 * points[:, :, None] - 1, align_corners=False)[..., 0]


def read_truths(masks: Tensor, points: Tensor) -> Tensor:
    """Like :func:`read_logits`, without a float copy of the large masks.

    Args:
        masks: (N, H, W) bool.
        points: (N, P, 2), or (1, P, 2) for all masks.

    Returns:
        (N, P) float32 in [0, 1].
    """
    count, height, width = masks.shape
    x, y = (points * points.new_tensor([width, height]) - 0.5).unbind(-1)
    left, top = x.floor(), y.floor()
    first = torch.arange(count, device=masks.device)[:, None] * (height * width)
    values = 0
    for column, row in ((left, top), (left + 1, top), (left, top + 1), (left + 1, top + 1)):
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        weight = (1 - (x - column).abs()) * (1 - (y - row).abs()) * inside
        cell = row.clamp(0, height - 1).long() * width + column.clamp(0, width - 1).long()
        pixel = first + cell
        # A flat index is read many times faster than a gather.
        corner = masks.flatten().index_select(0, pixel.flatten()).view_as(pixel)
        values = values + weight * corner
    return values
