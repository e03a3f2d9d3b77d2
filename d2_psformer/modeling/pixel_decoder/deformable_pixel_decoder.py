"""Deformable-attention encoder over all levels (Deformable DETR; Panoptic SegFormer, sec. 3.2)."""

import torch
from torch import Tensor, nn

from ...d2.config import configurable
from ...d2.layers import ShapeSpec
from ...layers import (
    FeedForward,
    MultiScaleDeformableAttention,
    SinePositionEncoding,
    run_layer,
)
from ...utils.checks import check_at_least, check_fraction
from .features import PixelFeatures, backbone_channels, level_padding_masks, valid_ratio
from .input_projection import InputProjection


class DeformablePixelDecoder(nn.Module):
    """Every cell of every level reads a few points of all levels.

    The position, a sine code of the cell plus a learned code of the level, is added to the queries
    of the attention and never to its values.
    """

    @configurable
    def __init__(
        self,
        *,
        in_channels: dict[str, int],
        dim: int = 256,
        layers: int = 6,
        heads: int = 8,
        num_levels: int = 4,
        points: int = 4,
        dim_feedforward: int = 1024,
        dropout: float = 0.1,
        projection_bias: bool = False,
        position_offset: float = -0.5,
        checkpointing: bool = False,
    ):
        """
        Args:
            in_channels: channels of the backbone features to read, fine to coarse.
            layers: encoder layers; with 0 the result is the projected backbone features.
            num_levels: levels of the result; those beyond the features are made from the last.
            projection_bias: of the convolutions of the projection.
            position_offset: of :class:`SinePositionEncoding`.
            checkpointing: compute the layers' activations again in the backward pass.

        Raises:
            UserError: an argument is out of its range.
        """
        super().__init__()
        check_at_least(0, layers=layers)
        check_at_least(1, dim_feedforward=dim_feedforward)
        check_fraction(dropout=dropout)
        self.in_features = list(in_channels)
        self.checkpointing = checkpointing
        channels = list(in_channels.values())
        self.input_projection = InputProjection(channels, dim, num_levels, projection_bias)
        self.position = SinePositionEncoding(dim, offset=position_offset)
        if layers:
            self.level_embed = nn.Parameter(torch.randn(num_levels, dim))
        self.layers = nn.ModuleList(
            EncoderLayer(dim, heads, num_levels, points, dim_feedforward, dropout)
            for _ in range(layers)
        )

    @classmethod
    def from_config(cls, cfg, input_shape: dict[str, ShapeSpec]) -> dict:
        node = cfg.MODEL.PIXEL_DECODER
        return {
            "in_channels": backbone_channels(cfg, input_shape),
            "dim": node.DIM,
            "layers": node.LAYERS,
            "heads": node.HEADS,
            "num_levels": node.NUM_LEVELS,
            "points": node.POINTS,
            "dim_feedforward": node.DIM_FEEDFORWARD,
            "dropout": node.DROPOUT,
            "checkpointing": "pixel_decoder" in cfg.MODEL.CHECKPOINTING,
        }

    def forward(self, features: dict[str, Tensor], padding: Tensor | None) -> PixelFeatures:
        """
        Args:
            features: maps (B, C_l, H_l, W_l) by name.
            padding: (B, H, W) bool on the canvas, True = padding; None for no padding.
        """
        levels = self.input_projection([features[f] for f in self.in_features])
        shapes = tuple(tuple(x.shape[-2:]) for x in levels)
        if padding is None:
            masks = [torch.zeros_like(x[:, 0], dtype=torch.bool) for x in levels]
        else:
            masks = level_padding_masks(padding, shapes)
        tokens = torch.cat([x.flatten(2).transpose(1, 2) for x in levels], dim=1)
        flat_padding = None  # nothing to hide from the attention
        if padding is not None:
            flat_padding = torch.cat([mask.flatten(1) for mask in masks], dim=1)
        ratios = torch.stack([valid_ratio(mask) for mask in masks], dim=1)
        if self.layers:
            position = self._position_code(masks)
            reference = cell_centres(shapes, ratios)
        for layer in self.layers:
            tokens = run_layer(
                layer,
                *(tokens, position, reference, shapes, flat_padding),
                recompute=self.checkpointing,
            )
        return PixelFeatures(tokens, shapes, flat_padding, ratios)

    def _position_code(self, masks: list[Tensor]) -> Tensor:
        """(B, S, dim) of the cells of all levels, by the padding masks (B, H_l, W_l)."""
        codes = [
            self.position(mask).flatten(2).transpose(1, 2) + code
            for mask, code in zip(masks, self.level_embed, strict=True)
        ]
        return torch.cat(codes, dim=1)


class EncoderLayer(nn.Module):
    """Deformable self-attention, then the feed-forward layer, both post-norm."""

    def __init__(
        self,
        dim: int,
        heads: int,
        num_levels: int,
        points: int,
        dim_feedforward: int,
        dropout: float,
    ):
        super().__init__()
        self.self_attn = MultiScaleDeformableAttention(dim, heads, num_levels, points)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(dim)
        self.ffn = FeedForward(dim, dim_feedforward, dropout)

    def forward(
        self,
        tokens: Tensor,
        position: Tensor,
        reference: Tensor,
        spatial_shapes: tuple[tuple[int, int], ...],
        padding: Tensor | None,
    ) -> Tensor:
        update = self.self_attn(tokens + position, reference, tokens, spatial_shapes, padding)
        return self.ffn(self.norm(tokens + self.dropout(update)))


def cell_centres(spatial_shapes: tuple[tuple[int, int], ...], valid_ratios: Tensor) -> Tensor:
    """Reference point of every cell on every level.

    A cell's place in the valid image is mapped to the padded canvas of each level.

    Args:
        spatial_shapes: (H, W) of every level.
        valid_ratios: (B, levels, 2), x before y.

    Returns:
        (B, S, levels, 2) in [0, 1], x before y.
    """
    device = valid_ratios.device
    centres = []
    for level, (height, width) in enumerate(spatial_shapes):
        y = (torch.arange(height, device=device) + 0.5) / height
        x = (torch.arange(width, device=device) + 0.5) / width
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).flatten(0, 1)
        centres.append(grid / valid_ratios[:, None, level])
    return torch.cat(centres, dim=1)[:, :, None] * valid_ratios[:, None]
