"""Multi-scale deformable attention as a module (Deformable DETR, section 4.1)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..ops import ms_deform_attn


class MultiScaleDeformableAttention(nn.Module):
    """Every query reads ``num_points`` points a head and level, at predicted offsets."""

    def __init__(self, dim: int, num_heads: int = 8, num_levels: int = 4, num_points: int = 4):
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"dim {dim} is not a multiple of num_heads {num_heads}.")
        self.num_heads, self.num_levels, self.num_points = num_heads, num_levels, num_points
        self.sampling_offsets = nn.Linear(dim, num_heads * num_levels * num_points * 2)
        self.attention_weights = nn.Linear(dim, num_heads * num_levels * num_points)
        self.value_proj = nn.Linear(dim, dim)
        self.output_proj = nn.Linear(dim, dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform attention over points that start on a star, one ray a head."""
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
            padding_mask: (B, S) bool, True = padding: such values are zeroed.

        Returns:
            (B, Q, dim).
        """
        batch, length, dim = memory.shape
        value = self.value_proj(memory)
        if padding_mask is not None:
            value = value.masked_fill(padding_mask[..., None], 0.0)
        value = value.view(batch, length, self.num_heads, dim // self.num_heads)
        points = (self.num_heads, self.num_levels, self.num_points)
        offsets = self.sampling_offsets(query).unflatten(-1, (*points, 2))
        weights = self.attention_weights(query).unflatten(-1, (self.num_heads, -1))
        weights = weights.softmax(-1).unflatten(-1, points[1:])
        locations = self._locations(offsets, reference, spatial_shapes)
        return self.output_proj(ms_deform_attn(value, spatial_shapes, locations, weights))

    def _locations(self, offsets: Tensor, reference: Tensor, spatial_shapes) -> Tensor:
        """Offsets are in cells around a point, in half box sizes (over all points) in a box."""
        reference = reference[:, :, None, :, None]
        if reference.shape[-1] == 4:
            centre, size = reference.split(2, dim=-1)
            return centre + offsets / self.num_points * size * 0.5
        size = offsets.new_tensor([(w, h) for h, w in spatial_shapes])
        return reference + offsets / size[:, None]
