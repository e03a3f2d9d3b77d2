"""What an encoder layer may attend with: one signature, that of multi-scale deformable attention.

The paper compares the first with the others.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ...layers import MultiScaleDeformableAttention


class SingleScaleDeformableAttention(MultiScaleDeformableAttention):
    """Every cell reads a few points of its own level; the levels share the parameters."""

    def __init__(self, dim: int, num_heads: int, num_points: int):
        super().__init__(dim, num_heads, num_levels=1, num_points=num_points)

    def forward(
        self,
        query: Tensor,
        reference: Tensor,
        memory: Tensor,
        spatial_shapes: Sequence[tuple[int, int]],
        padding_mask: Tensor | None = None,
    ) -> Tensor:
        """As in the base class, with one query a cell, in the order of the memory."""
        updates, start = [], 0
        for level, (height, width) in enumerate(spatial_shapes):
            cells = slice(start, start + height * width)
            update = super().forward(
                query[:, cells],
                reference[:, cells, level : level + 1],
                memory[:, cells],
                [(height, width)],
                None if padding_mask is None else padding_mask[:, cells],
            )
            updates.append(update)
            start = cells.stop
        return torch.cat(updates, dim=1)


class PlainSelfAttention(nn.Module):
    """Every cell reads all cells of all levels: work grows with the square of their number."""

    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        self.attention = nn.MultiheadAttention(dim, num_heads, batch_first=True)
        nn.init.xavier_uniform_(self.attention.out_proj.weight)

    def forward(
        self,
        query: Tensor,
        reference: Tensor,
        memory: Tensor,
        spatial_shapes: Sequence[tuple[int, int]],
        padding_mask: Tensor | None = None,
    ) -> Tensor:
        """query (B, S, dim) with position, memory (B, S, dim) without; padding is not read.

        Places enter by the position alone: ``reference`` and ``spatial_shapes`` are not used.
        """
        update, _ = self.attention(
            query, query, memory, key_padding_mask=padding_mask, need_weights=False
        )
        return update


# name in the config -> from (dim, heads, levels, points) to the attention
ATTENTIONS: dict[str, Callable[[int, int, int, int], nn.Module]] = {
    "deformable": MultiScaleDeformableAttention,
    "single_scale": lambda dim, heads, _, points: SingleScaleDeformableAttention(
        dim, heads, points
    ),
    "attention": lambda dim, heads, *_: PlainSelfAttention(dim, heads),
}
