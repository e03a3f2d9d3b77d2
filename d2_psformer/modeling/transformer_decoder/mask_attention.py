"""Attention whose scores are masks (Panoptic SegFormer, section 3.4)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Shapes = tuple[tuple[int, int], ...]


class MaskScores(nn.Module):
    """Scores of queries and cells, fused over heads and levels into masks.

    The final attention of a mask decoder is this alone: it reads nothing from the cells.
    """

    def __init__(self, dim: int, heads: int, num_levels: int):
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(dim, dim)
        self.k_proj = nn.Linear(dim, dim)
        self.level_fc = nn.ModuleList(nn.Linear(heads, heads) for _ in range(num_levels))
        self.mask_fc = nn.Linear(heads * num_levels, 1)
        for linear in (self.q_proj, self.k_proj, *self.level_fc, self.mask_fc):
            nn.init.xavier_uniform_(linear.weight)
        # A mask that starts at zero everywhere behind its ReLU would never get a gradient.
        nn.init.ones_(self.mask_fc.bias)

    def forward(self, query: Tensor, tokens: Tensor, spatial_shapes: Shapes) -> Tensor:
        """
        Args:
            query: (B, N, dim).
            tokens: (B, S, dim), cells of all levels.
            spatial_shapes: (H, W) of every level.

        Returns:
            masks (B, N, H_1, W_1) >= 0 at the size of the finest level.
        """
        return self.fuse(self.scores(query, tokens), spatial_shapes)

    def scores(self, query: Tensor, tokens: Tensor) -> Tensor:
        """Scaled scores before the softmax: (B, heads, N, S)."""
        return self._queries(query) @ self._split(self.k_proj(tokens)).mT

    def fuse(self, scores: Tensor, spatial_shapes: Shapes) -> Tensor:
        """Scores of all levels -> masks (B, N, H_1, W_1) on the finest one, >= 0.

        The last linear layer mixes channels and the resize mixes places, so they commute: mixing
        first leaves one channel to resize instead of one for every head.
        """
        batch, heads, queries, _ = scores.shape
        level_scores = scores.split([h * w for h, w in spatial_shapes], dim=-1)
        mixing = self.mask_fc.weight.view(len(spatial_shapes), 1, heads)
        mask = self.mask_fc.bias
        for x, fc, mix, shape in zip(
            level_scores, self.level_fc, mixing, spatial_shapes, strict=True
        ):
            # Matrix products are several times faster than convolutions with 1x1 kernels.
            weight = fc.weight.expand(batch, -1, -1)
            hidden = F.relu(torch.baddbmm(fc.bias[:, None], weight, x.flatten(2)))
            level = (mix.expand(batch, -1, -1) @ hidden).view(batch, queries, *shape)
            if shape != spatial_shapes[0]:
                level = F.interpolate(level, spatial_shapes[0], mode="bilinear")
            mask = mask + level
        return F.relu(mask)

    def _queries(self, query: Tensor) -> Tensor:
        """Scaled queries (B, heads, N, dim / heads)."""
        q = self._split(self.q_proj(query))
        return q * q.shape[-1] ** -0.5

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class MaskAttention(MaskScores):
    """Multi-head cross-attention that can also make a mask of its scores."""

    def __init__(self, dim: int, heads: int, num_levels: int):
        super().__init__(dim, heads, num_levels)
        self.v_proj = nn.Linear(dim, dim)
        self.out_proj = nn.Linear(dim, dim)
        for linear in (self.v_proj, self.out_proj):
            nn.init.xavier_uniform_(linear.weight)

    def forward(
        self,
        query: Tensor,
        tokens: Tensor,
        spatial_shapes: Shapes,
        make_mask: bool = True,
        mask_rows: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """
        Args:
            query, tokens, spatial_shapes: as in :class:`MaskScores`.
            make_mask: without it, no scores are computed apart from the fused attention.
            mask_rows: (B, M) long: the queries that get a mask; None for all, M = N.

        Returns:
            what the queries read (B, N, dim), by a softmax over all levels together.
            masks (B, M, H_1, W_1) >= 0, or None.
        """
        q, k, v = self._queries(query), self._split(self.k_proj(tokens)), self.v_proj(tokens)
        mask = self.fuse(select_queries(q, mask_rows) @ k.mT, spatial_shapes) if make_mask else None
        read = F.scaled_dot_product_attention(q, k, self._split(v), scale=1.0)
        return self.out_proj(read.transpose(1, 2).flatten(2)), mask


def select_queries(query: Tensor, rows: Tensor | None) -> Tensor:
    """Rows (B, M) of queries (B, ..., N, d); None takes all."""
    if rows is None:
        return query
    index = rows.view(rows.shape[0], *[1] * (query.dim() - 3), -1, 1)
    return query.gather(-2, index.expand(*query.shape[:-2], -1, query.shape[-1]))
