"""Attention whose scores are masks (paper, section 3.4)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MaskAttention(nn.Module):
    """Multi-head attention that hands out its scores, fused into a mask.

    Scores are products of queries with projected cells, q (W_k x)^T. A few queries take W_k to
    their own side, (q W_k) x^T, likewise the projection of values: that is less work than
    projecting every cell of the memory. Many queries leave what they read to fused attention.

    Args:
        values, masks: which of its two uses it has parameters for.
    """

    def __init__(self, dim: int, num_heads: int, num_levels: int, values: bool, masks: bool = True):
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = nn.Linear(dim, dim)
        self.k_proj = nn.Linear(dim, dim)
        self.v_proj = self.out_proj = None
        if values:
            self.v_proj = nn.Linear(dim, dim)
            self.out_proj = nn.Linear(dim, dim)
        if masks:
            self.level_fc = nn.ModuleList(
                nn.Linear(num_heads, num_heads) for _ in range(num_levels)
            )
            self.mask_fc = nn.Linear(num_heads * num_levels, 1)
        for layer in self.children():
            for linear in layer if isinstance(layer, nn.ModuleList) else [layer]:
                nn.init.xavier_uniform_(linear.weight)
        if masks:
            # A mask that starts all zero behind its ReLU would never get a gradient.
            nn.init.ones_(self.mask_fc.bias)

    def forward(
        self,
        query: Tensor,
        tokens: Tensor,
        spatial_shapes: Sequence[tuple[int, int]],
        make_mask: bool = True,
        padding: Tensor | None = None,
        rows: Tensor | None = None,
    ) -> tuple[Tensor | None, Tensor | None]:
        """
        Args:
            query: (B, N, dim).
            tokens: (B, S, dim), cells of all levels.
            make_mask: whether masks are wanted.
            padding: (B, S) bool, cells that are not read, and where masks are 0.
            rows: (B, M) long: the queries whose masks are wanted; None for all, M = N.

        Returns:
            what the queries read (B, N, dim), by a softmax over all levels together; None without
                values.
            masks (B, M, H_1, W_1) >= 0, or None.
        """
        q = self._queries(query)
        read = mask = None
        if self._are_few(q):
            scores = self._scores_of_few(q, tokens)
            if make_mask:
                mask = self.fuse(take_rows(scores, rows), spatial_shapes, padding)
            if self.v_proj is not None:
                read = self._read_by_few(scores, tokens, padding)
            return read, mask
        k = self._split(self.k_proj(tokens))
        if make_mask:
            scores = take_rows(q, rows) @ k.transpose(-2, -1)
            mask = self.fuse(scores, spatial_shapes, padding)
        if self.v_proj is not None:
            readable = None if padding is None else ~padding[:, None, None]
            v = self._split(self.v_proj(tokens))
            read = F.scaled_dot_product_attention(q, k, v, readable, scale=1.0)
            read = self.out_proj(read.transpose(1, 2).flatten(2))
        return read, mask

    def scores(self, query: Tensor, tokens: Tensor) -> Tensor:
        """Scaled scores before the softmax: (B, heads, N, S)."""
        q = self._queries(query)
        if self._are_few(q):
            return self._scores_of_few(q, tokens)
        return q @ self._split(self.k_proj(tokens)).transpose(-2, -1)

    def fuse(
        self,
        scores: Tensor,
        spatial_shapes: Sequence[tuple[int, int]],
        padding: Tensor | None = None,
    ) -> Tensor:
        """Scores of all levels -> masks (B, N, H_1, W_1) on the finest one, >= 0.

        The last linear layer mixes channels and the resize mixes places, so they commute: mixing
        first leaves one channel to resize instead of ``num_heads``.
        """
        batch, heads, queries, _ = scores.shape
        lengths = [h * w for h, w in spatial_shapes]
        level_scores = scores.split(lengths, dim=-1)
        level_padding = [None] * len(lengths)
        if padding is not None:
            level_padding = padding.split(lengths, dim=-1)
        mixing = self.mask_fc.weight.view(len(spatial_shapes), 1, heads)
        mask = self.mask_fc.bias
        for x, fc, mix, shape, padded in zip(
            level_scores, self.level_fc, mixing, spatial_shapes, level_padding, strict=True
        ):
            # as matrix products several times faster than as convolutions with 1x1 kernels
            weight = fc.weight.expand(batch, -1, -1)
            hidden = F.relu(torch.baddbmm(fc.bias[:, None], weight, x.flatten(2)))
            level = (mix.expand(batch, -1, -1) @ hidden).view(batch, queries, *shape)
            level = _without_padding(level, padded)
            if shape != spatial_shapes[0]:
                level = F.interpolate(level, spatial_shapes[0], mode="bilinear")
            mask = mask + level
        return F.relu(_without_padding(mask, level_padding[0]))

    def _queries(self, query: Tensor) -> Tensor:
        """Scaled queries (B, heads, N, dim / heads)."""
        q = self._split(self.q_proj(query))
        return q * q.shape[-1] ** -0.5

    def _are_few(self, q: Tensor) -> bool:
        """Whether heads N S dim products, for all cells, are fewer than S dim (dim + N)."""
        _, heads, queries, head_dim = q.shape
        return heads * queries < heads * head_dim + queries

    def _scores_of_few(self, q: Tensor, tokens: Tensor) -> Tensor:
        projected = (q @ self._by_head(self.k_proj.weight)).flatten(1, 2)  # (B, heads N, dim)
        shift = q @ self._by_head(self.k_proj.bias)[..., None]  # (B, heads, N, 1)
        scores = torch.baddbmm(shift.flatten(1, 2), projected, tokens.transpose(1, 2))
        return scores.unflatten(1, q.shape[1:3])

    def _read_by_few(self, scores: Tensor, tokens: Tensor, padding: Tensor | None) -> Tensor:
        if padding is not None:
            scores = scores.masked_fill(padding[:, None, None], -torch.inf)
        weights = scores.softmax(-1)
        cells = (weights.flatten(1, 2) @ tokens).unflatten(1, scores.shape[1:3])
        read = cells @ self._by_head(self.v_proj.weight).transpose(1, 2)  # (B, heads, N, dim/heads)
        # weights add up to 1, so that the bias of every cell is read once
        return self.out_proj(read.transpose(1, 2).flatten(2) + self.v_proj.bias)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def _by_head(self, parameter: Tensor) -> Tensor:
        """Weight (dim, dim) or bias (dim,) of a projection -> (heads, dim / heads, ...)."""
        return parameter.unflatten(0, (self.num_heads, -1))


def take_rows(query: Tensor, rows: Tensor | None) -> Tensor:
    """Rows (B, M) of queries (B, ..., N, d), None for all."""
    if rows is None:
        return query
    index = rows.view(len(rows), *[1] * (query.dim() - 3), -1, 1)
    return query.gather(-2, index.expand(*query.shape[:-2], -1, query.shape[-1]))


def _without_padding(maps: Tensor, padding: Tensor | None) -> Tensor:
    """Maps (B, N, h, w), zero in the padded cells (B, h w)."""
    if padding is None:
        return maps
    return maps.masked_fill(padding.view(len(maps), 1, *maps.shape[2:]), 0.0)
