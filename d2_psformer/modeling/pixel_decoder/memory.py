"""What the decoders attend to."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Memory:
    """Encoded features of all levels, fine to coarse, one after the other.

    Attributes:
        tokens: (B, S, dim), S = sum of H_l * W_l.
        spatial_shapes: (H, W) of every level, on the padded canvas.
        padding_mask: (B, S) bool, True = padding; None for no padding.
        valid_ratios: (B, levels, 2), share of the canvas that is image, x before y.
    """

    tokens: Tensor
    spatial_shapes: tuple[tuple[int, int], ...]
    padding_mask: Tensor | None
    valid_ratios: Tensor

    def finest(self, num_levels: int) -> Tensor:
        """Tokens of the first ``num_levels`` levels, (B, S', dim)."""
        return self.tokens[:, : self._length(num_levels)]

    def finest_padding(self, num_levels: int) -> Tensor | None:
        """Padding of the first ``num_levels`` levels, (B, S') bool; None for no padding."""
        return (
            None if self.padding_mask is None else self.padding_mask[:, : self._length(num_levels)]
        )

    def image(self, index: int) -> "Memory":
        """The memory of one image of the batch, as a batch of one."""
        one = slice(index, index + 1)
        mask = None if self.padding_mask is None else self.padding_mask[one]
        return Memory(self.tokens[one], self.spatial_shapes, mask, self.valid_ratios[one])

    def _length(self, num_levels: int) -> int:
        return sum(h * w for h, w in self.spatial_shapes[:num_levels])


def level_padding_masks(padding_mask: Tensor, shapes: list[tuple[int, int]]) -> list[Tensor]:
    """Padding mask of the canvas (B, H, W) bool -> one (B, H_l, W_l) a level, by nearest cell."""
    canvas = padding_mask[:, None].float()
    return [F.interpolate(canvas, size=shape)[:, 0].bool() for shape in shapes]


def valid_ratio(padding_mask: Tensor) -> Tensor:
    """(B, H, W) bool -> (B, 2) share of columns and of rows that are image."""
    height, width = padding_mask.shape[1:]
    rows = (~padding_mask[:, :, 0]).sum(1) / height
    columns = (~padding_mask[:, 0, :]).sum(1) / width
    return torch.stack([columns, rows], dim=-1)
