"""Deformable-attention encoder over all levels (Deformable DETR; paper, section 3.2).

For comparison it takes other attention too, or none: see ``encoder_attention.py``.
"""

import torch
from torch import Tensor, nn

from ...d2.config import configurable
from ...d2.layers import ShapeSpec
from ...layers import FeedForward, SinePositionEncoding, run_layer
from .encoder_attention import ATTENTIONS
from .input_projection import InputProjection
from .memory import Memory, level_padding_masks, valid_ratio


class DeformablePixelDecoder(nn.Module):
    """Backbone features -> memory: every cell of every level reads a few points of all levels.

    The position, a sine code of the cell plus a learned code of the level, enters the queries of
    the attention and never its values.
    """

    @configurable
    def __init__(
        self,
        *,
        in_channels: dict[str, int],
        dim: int = 256,
        num_layers: int = 6,
        num_heads: int = 8,
        num_levels: int = 4,
        num_points: int = 4,
        dim_feedforward: int = 1024,
        dropout: float = 0.1,
        encoder: str = "deformable",
        checkpointing: bool = False,
    ):
        """
        Args:
            in_channels: channels of the backbone features to read, fine to coarse.
            num_levels: levels of the memory; those beyond the features are made from the last.
            encoder: one of ATTENTIONS, or "none": the memory is the projected features.
            checkpointing: compute the layers' activations again in the backward pass.
        """
        super().__init__()
        self.in_features = list(in_channels)
        self.checkpointing = checkpointing
        self.input_projection = InputProjection(list(in_channels.values()), dim, num_levels)
        self.position = SinePositionEncoding(dim)
        if encoder == "none":
            num_layers = 0
        else:
            self.level_embed = nn.Parameter(torch.randn(num_levels, dim))
        self.layers = nn.ModuleList(
            EncoderLayer(dim, num_heads, num_levels, num_points, dim_feedforward, dropout, encoder)
            for _ in range(num_layers)
        )

    @classmethod
    def from_config(cls, cfg, input_shape: dict[str, ShapeSpec]) -> dict:
        node = cfg.MODEL.PSFORMER
        missing = [f for f in node.IN_FEATURES if f not in input_shape]
        if missing:
            raise ValueError(
                f"MODEL.PSFORMER.IN_FEATURES names {', '.join(missing)}, but the backbone gives "
                f"{', '.join(input_shape)}."
            )
        strides = [input_shape[f].stride for f in node.IN_FEATURES]
        if strides != sorted(set(strides)):
            raise ValueError(
                f"MODEL.PSFORMER.IN_FEATURES is {list(node.IN_FEATURES)}, with strides {strides}: "
                "name the features from fine to coarse."
            )
        return {
            "in_channels": {f: input_shape[f].channels for f in node.IN_FEATURES},
            "dim": node.HIDDEN_DIM,
            "num_layers": node.ENCODER_LAYERS,
            "num_heads": node.NUM_HEADS,
            "num_levels": node.NUM_FEATURE_LEVELS,
            "num_points": node.NUM_POINTS,
            "dim_feedforward": node.DIM_FEEDFORWARD,
            "dropout": node.DROPOUT,
            "encoder": node.ENCODER,
            "checkpointing": "encoder" in node.CHECKPOINTING,
        }

    def forward(self, features: dict[str, Tensor], padding_mask: Tensor | None) -> Memory:
        """
        Args:
            features: maps (B, C_l, H_l, W_l) by name.
            padding_mask: (B, H, W) bool on the canvas, True = padding; None for no padding.
        """
        levels = self.input_projection([features[f] for f in self.in_features])
        shapes = [tuple(x.shape[-2:]) for x in levels]
        if padding_mask is None:
            masks = [torch.zeros_like(x[:, 0], dtype=torch.bool) for x in levels]
        else:
            masks = level_padding_masks(padding_mask, shapes)
        tokens = torch.cat([x.flatten(2).transpose(1, 2) for x in levels], dim=1)
        flat_mask = None  # nothing to hide from the attention
        if padding_mask is not None:
            flat_mask = torch.cat([mask.flatten(1) for mask in masks], dim=1)
        ratios = torch.stack([valid_ratio(mask) for mask in masks], dim=1)
        if self.layers:
            position = self._position_code(masks)
            reference = cell_centres(shapes, ratios)
        for layer in self.layers:
            tokens = run_layer(
                layer,
                *(tokens, position, reference, shapes, flat_mask),
                recompute=self.checkpointing,
            )
        return Memory(tokens, tuple(shapes), flat_mask, ratios)

    def _position_code(self, masks: list[Tensor]) -> Tensor:
        """(B, S, dim) of the cells of all levels, by the padding masks (B, H_l, W_l)."""
        codes = [
            self.position(mask).flatten(2).transpose(1, 2) + code
            for mask, code in zip(masks, self.level_embed, strict=True)
        ]
        return torch.cat(codes, dim=1)


class EncoderLayer(nn.Module):
    """Self-attention, by default deformable, then the feed-forward layer, both post-norm."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        num_levels: int,
        num_points: int,
        dim_feedforward: int,
        dropout: float,
        attention: str = "deformable",
    ):
        """
        Args:
            attention: one of ATTENTIONS.
        """
        super().__init__()
        self.self_attn = ATTENTIONS[attention](dim, num_heads, num_levels, num_points)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(dim)
        self.ffn = FeedForward(dim, dim_feedforward, dropout)
        for linear in (self.ffn.linear1, self.ffn.linear2):
            nn.init.xavier_uniform_(linear.weight)

    def forward(
        self,
        tokens: Tensor,
        position: Tensor,
        reference: Tensor,
        spatial_shapes: list[tuple[int, int]],
        padding_mask: Tensor | None,
    ) -> Tensor:
        query = tokens + position
        update = self.self_attn(query, reference, tokens, spatial_shapes, padding_mask)
        return self.ffn(self.norm(tokens + self.dropout(update)))


def cell_centres(spatial_shapes: list[tuple[int, int]], valid_ratios: Tensor) -> Tensor:
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
