"""Images of any size -> one normalised, padded batch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...utils.errors import UserError


@dataclass(frozen=True)
class ImageBatch:
    """
    Attributes:
        tensor: (B, 3, H, W) normalised, the normaliser's ``fill`` where padded.
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
        padding_value: of the padding, in the value range of ``pixel_mean``; None: the mean.

    Attributes:
        fill: (3, 1, 1), the normalised padding.
    """

    def __init__(
        self,
        pixel_mean: list[float],
        pixel_std: list[float],
        size_divisibility: int,
        more: int = 0,
        padding_value: float | None = None,
    ):
        super().__init__()
        if not len(pixel_mean) == len(pixel_std) == 3 or 0 in pixel_std:
            raise UserError(
                f"MODEL.PIXEL_MEAN is {pixel_mean} and MODEL.PIXEL_STD is {pixel_std}: give three "
                "numbers each, and no deviation of 0."
            )
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (pixel_mean, pixel_std))
        fill = torch.zeros_like(std) if padding_value is None else (padding_value - mean) / std
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)
        self.register_buffer("fill", fill, persistent=False)
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
        batch = self.fill.repeat(len(images), 1, *self._canvas(images))
        for canvas, image in zip(batch, images, strict=True):
            _, height, width = image.shape
            canvas[:, :height, :width] = (image.to(self.mean.device) - self.mean) / self.std
        padding_masks = padding_masks or [None] * len(images)
        sizes = [_valid_size(*pair) for pair in zip(images, padding_masks, strict=True)]
        if all(size == batch.shape[-2:] for size in sizes):
            return ImageBatch(batch, None, sizes)
        padding = torch.ones_like(batch[:, 0], dtype=torch.bool)
        for mask, (height, width) in zip(padding, sizes, strict=True):
            mask[:height, :width] = False
        return ImageBatch(batch, padding, sizes)

    def _canvas(self, images: list[Tensor]) -> tuple[int, int]:
        """Height and width that hold every image."""
        multiple, more = max(self.size_divisibility, 1), self.more
        longest = (max(more + 1, *(x.shape[axis] for x in images)) for axis in (1, 2))
        height, width = (math.ceil((side - more) / multiple) * multiple + more for side in longest)
        return height, width


def _valid_size(image: Tensor, padding_mask: Tensor | None) -> tuple[int, int]:
    """Height and width without the padding at the right and the bottom."""
    if padding_mask is None:
        return tuple(image.shape[-2:])
    valid = ~padding_mask
    return int(valid.any(1).sum()), int(valid.any(0).sum())
