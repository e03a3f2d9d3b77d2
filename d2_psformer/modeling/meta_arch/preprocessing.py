"""Images of any size -> one normalised, padded batch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...utils.errors import UserError


@dataclass(frozen=True)
class ImageBatch:
    """
    Attributes:
        tensor: (B, 3, H, W) normalised, zero where padded.
        padding: (B, H, W) bool, True = padding; None where every image fills the canvas.
        sizes: (height, width) of every image without padding, pixels.
    """

    tensor: Tensor
    padding: Tensor | None
    sizes: list[tuple[int, int]]


class ImageNormalizer(nn.Module):
    """Subtracts the mean, divides by the standard deviation, pads to one canvas.

    Args:
        size_divisibility, more: the sides of the canvas are the first one once or more often, plus
            the second, pixels.
    """

    def __init__(
        self,
        pixel_mean: list[float],
        pixel_std: list[float],
        size_divisibility: int,
        more: int = 0,
    ):
        super().__init__()
        if not len(pixel_mean) == len(pixel_std) == 3 or 0 in pixel_std:
            raise UserError(
                f"MODEL.PIXEL_MEAN is {pixel_mean} and MODEL.PIXEL_STD is {pixel_std}: give three "
                "numbers each, and no deviation of 0."
            )
        self.register_buffer("mean", torch.tensor(pixel_mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(pixel_std).view(-1, 1, 1), persistent=False)
        self.size_divisibility, self.more = size_divisibility, more

    def forward(
        self, images: list[Tensor], padding_masks: Sequence[Tensor | None] | None = None
    ) -> ImageBatch:
        """
        Args:
            images: (3, H, W) each, in the value range of ``pixel_mean``.
            padding_masks: (H, W) bool of each image, True = padding at its right and bottom; None
                where it has none.
        """
        normalised = [(x.to(self.mean.device) - self.mean) / self.std for x in images]
        batch = torch.stack(self._pad(normalised))
        padding_masks = padding_masks or [None] * len(images)
        sizes = [_valid_size(*pair) for pair in zip(normalised, padding_masks, strict=True)]
        if all(size == batch.shape[-2:] for size in sizes):
            return ImageBatch(batch, None, sizes)
        padding = torch.ones_like(batch[:, 0], dtype=torch.bool)
        for mask, (height, width) in zip(padding, sizes, strict=True):
            mask[:height, :width] = False
        return ImageBatch(batch, padding, sizes)

    def _pad(self, images: list[Tensor]) -> list[Tensor]:
        """The images, padded at the right and the bottom to one size."""
        multiple, more = max(self.size_divisibility, 1), self.more
        longest = (max(more + 1, *(x.shape[axis] for x in images)) for axis in (1, 2))
        height, width = (math.ceil((side - more) / multiple) * multiple + more for side in longest)
        return [F.pad(x, (0, width - x.shape[2], 0, height - x.shape[1])) for x in images]


def _valid_size(image: Tensor, padding_mask: Tensor | None) -> tuple[int, int]:
    """Height and width without the padding at the right and the bottom."""
    if padding_mask is None:
        return tuple(image.shape[-2:])
    valid = ~padding_mask
    return int(valid.any(1).sum()), int(valid.any(0).sum())
