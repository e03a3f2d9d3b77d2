"""What a pixel decoder gives to the transformer decoders."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...d2.layers import ShapeSpec
from ...utils.errors import UserError


@dataclass(frozen=True)
class PixelFeatures:
    """Encoded features of all levels, fine to coarse, one after the other.

    Attributes:
        tokens: (B, S, dim), S = sum of H_l * W_l.
        spatial_shapes: (H, W) of every level, on the padded canvas.
        padding: (B, S) bool, True = padding; None for no padding.
        valid_ratios: (B, levels, 2), share of the canvas that is image, x before y.
        mask_features: (B, mask_dim, H / 4, W / 4), which queries are multiplied with to make masks;
            None where masks come from the tokens.
    """

    tokens: Tensor
    spatial_shapes: tuple[tuple[int, int], ...]
    padding: Tensor | None
    valid_ratios: Tensor
    mask_features: Tensor | None = None

    def finest(self, num_levels: int) -> tuple[Tensor, tuple[tuple[int, int], ...]]:
        """Tokens (B, S', dim) and spatial shapes of the first ``num_levels`` levels."""
        shapes = self.spatial_shapes[:num_levels]
        return self.tokens[:, : sum(h * w for h, w in shapes)], shapes

    @classmethod
    def unpadded(
        cls,
        tokens: Tensor,
        spatial_shapes: tuple[tuple[int, int], ...],
        mask_features: Tensor | None = None,
    ) -> "PixelFeatures":
        """Features of a canvas that counts as image throughout."""
        ratios = tokens.new_ones((tokens.shape[0], len(spatial_shapes), 2))
        return cls(tokens, spatial_shapes, None, ratios, mask_features)


def backbone_channels(cfg, input_shape: dict[str, ShapeSpec]) -> dict[str, int]:
    """Channels of MODEL.PIXEL_DECODER.IN_FEATURES by name, fine to coarse.

    Raises:
        UserError: the backbone has no such feature, or the order is another one.
    """
    names = cfg.MODEL.PIXEL_DECODER.IN_FEATURES
    missing = [f for f in names if f not in input_shape]
    if missing:
        raise UserError(
            f"MODEL.PIXEL_DECODER.IN_FEATURES names {', '.join(missing)}, but the backbone "
            f"gives {', '.join(input_shape)}."
        )
    strides = [input_shape[f].stride for f in names]
    if not strides or strides != sorted(set(strides)):
        raise UserError(
            f"MODEL.PIXEL_DECODER.IN_FEATURES is {list(names)}, with strides {strides}: name at "
            "least one feature, each once, from fine to coarse."
        )
    return {f: input_shape[f].channels for f in names}


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
