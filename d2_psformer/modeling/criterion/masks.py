"""How masks are sampled before a term compares them."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class DenseMasks:
    """All pixels of predicted masks and of targets, at ``scale`` times the predicted size."""

    scale: int = 1

    def predictions(self, masks: Tensor) -> Tensor:
        """(N, h, w) -> (N, P) float32."""
        return self._resize(masks, masks.shape[-2:])

    def targets(self, masks: Tensor, size: tuple[int, int]) -> Tensor:
        """(N, H, W) bool, for predictions of ``size`` (h, w) -> (N, P) in [0, 1], soft edges."""
        return self._resize(masks, size)

    def _resize(self, masks: Tensor, size: tuple[int, int]) -> Tensor:
        return resize_masks(masks, [self.scale * side for side in size]).flatten(1)


def resize_masks(masks: Tensor, size) -> Tensor:
    """(N, H, W) of any type -> (N, *size) float32, bilinear: bool masks get soft edges."""
    if not len(masks):  # F.interpolate refuses these; the graph of the masks is kept
        return masks.float()[:, :1, :1].expand(-1, *size)
    if tuple(size) == tuple(masks.shape[-2:]):
        return masks.float()
    return F.interpolate(masks.float()[None], tuple(size), mode="bilinear")[0]
