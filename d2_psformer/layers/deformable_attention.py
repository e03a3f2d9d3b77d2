"""Multi-scale deformable attention as a module (Deformable DETR, section 4.1)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..ops import fused_ms_deform_attn
from ..utils.checks import check_at_least, check_heads


class MultiScaleDeformableAttention(nn.Module):
    """Every head of every query reads ``num_points`` points a level, at predicted offsets.

    Raises:
        UserError: ``num_heads`` does not divide ``dim``, or there is no point.
    """

    def __init__(self, dim: int, num_heads: int = 8, num_levels: int = 4, num_points: int = 4):
        super().__init__()
        check_heads(dim, num_heads)
        check_at_least(1, points=num_points)
        self.num_heads, self.num_levels, self.num_points = num_heads, num_levels, num_points
        self.sampling_offsets = nn.Linear(dim, num_heads * num_levels * num_points * 2)
        self.attention_weights = nn.Linear(dim, num_heads * num_levels * num_points)
        self.value_proj = nn.Linear(dim, dim)
        self.output_proj = nn.Linear(dim, dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start with uniform attention over points on a star, one ray for each head."""
        angle = torch.arange(self.num_heads) * (2 * math.pi / self.num_heads)
        ray = torch.stack([angle.cos(), angle.sin()], dim=-1)
        ray = ray / ray.abs().amax(-1, keepdim=True)
        distance = torch.arange(1, self.num_points + 1)
        star = ray[:, None, None, :] * distance[:, None]
        star = star.expand(-1, self.num_levels, -1, -1)
        with torch.no_grad():
            self.sampling_offsets.weight.zero_()
            self.sampling_offsets.bias.copy_(star.flatten())
            self.attention_weights.weight.zero_()
            self.attention_weights.bias.zero_()
            for projection in (self.value_proj, self.output_proj):
                nn.init.xavier_uniform_(projection.weight)
                projection.bias.zero_()

    def forward(
        self,
        query: Tensor,
        reference: Tensor,
        memory: Tensor,
        spatial_shapes: Sequence[tuple[int, int]],
        padding_mask: Tensor | None = None,
    ) -> Tensor:
        """
        Args:
            query: (B, Q, dim), position added.
            reference: (B, Q, levels, 2) points or (B, Q, levels, 4) boxes (cx, cy, w, h),
                normalised to the padded map of each level.
            memory: (B, S, dim), all levels one after the other.
            spatial_shapes: (H, W) of every level.
            padding_mask: (B, S) bool, True = padding; the values there are set to zero.

        Returns:
            (B, Q, dim).
        """
        points = (self.num_heads, self.num_levels, self.num_points)
        offsets = self.sampling_offsets(query).unflatten(-1, (*points, 2))
        logits = self.attention_weights(query).unflatten(-1, points)
        value = self.value_proj(memory)
        if padding_mask is not None:
            value = value.masked_fill(padding_mask[..., None], 0.0)
        value = value.unflatten(-1, (self.num_heads, -1))
        return self.output_proj(
            fused_ms_deform_attn(value, spatial_shapes, offsets, logits, reference)
        )
