"""What a pixel decoder gives to the transformer decoders."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class PixelFeatures:
    """Encoded features of all levels, fine to coarse, one after the other.

    Attributes:
        tokens: (B, S, dim), S = sum of H_l * W_l.
        spatial_shapes: (H, W) of every level, on the padded canvas.
        padding: (B, S) bool, True = padding; None for no padding.
        valid_ratios: (B, levels, 2), share of the canvas that is image, x before y.
    """

    tokens: Tensor
    spatial_shapes: tuple[tuple[int, int], ...]
    padding: Tensor | None
    valid_ratios: Tensor

    def finest(self, num_levels: int) -> tuple[Tensor, tuple[tuple[int, int], ...]]:
        """Tokens (B, S', dim) and spatial shapes of the first ``num_levels`` levels."""
        shapes = self.spatial_shapes[:num_levels]
        return self.tokens[:, : sum(h * w for h, w in shapes)], shapes


def level_padding_masks(padding: Tensor, shapes: list[tuple[int, int]]) -> list[Tensor]:
    """Padding of the canvas (B, H, W) bool -> one (B, H_l, W_l) a level, by the nearest cell."""
    canvas = padding[:, None].float()
    return [F.interpolate(canvas, size=shape)[:, 0].bool() for shape in shapes]


def valid_ratio(padding: Tensor) -> Tensor:
    """(B, H, W) bool -> (B, 2), the share of columns and of rows that are image."""
    height, width = padding.shape[1:]
    rows = (~padding[:, :, 0]).sum(1) / height
    columns = (~padding[:, 0, :]).sum(1) / width
    return torch.stack([columns, rows], dim=-1)
