"""Mask decoder: attention maps are the masks (paper, section 3.4)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...layers import FeedForward, Linear, run_layer
from ..pixel_decoder import Memory


class MaskDecoder(nn.Module):
    """Blocks of cross-attention whose scores, fused over levels, are masks; a tail ends them.

    Keys carry no position, and padding is not masked out by default, as in the reference. A query
    position, where there is one, is added into the residual stream before every block and the tail.

    Args:
        num_layers: blocks before the tail.
        num_levels: how many levels, the finest of the memory, the masks are made of.
        self_attention: queries see each other (stuff); otherwise each is on its own (things).
        block_masks: blocks make masks too, for deep supervision; otherwise the tail alone.
        exit_after: block that ends it when the last mask alone is wanted; 0 for the tail.
        ignore_padding: queries read no padded cell, and masks are 0 there.
        checkpointing: compute the blocks' activations again in the backward pass.
    """

    def __init__(
        self,
        *,
        dim: int = 256,
        num_heads: int = 8,
        num_layers: int = 4,
        num_levels: int = 3,
        self_attention: bool = False,
        block_masks: bool = True,
        exit_after: int = 0,
        ignore_padding: bool = False,
        checkpointing: bool = False,
    ):
        super().__init__()
        self.num_levels = num_levels
        self.block_masks, self.exit_after = block_masks, exit_after
        self.ignore_padding = ignore_padding
        self.checkpointing = checkpointing
        self.blocks = nn.ModuleList(
            MaskBlock(dim, num_heads, num_levels, self_attention, block_masks)
            for _ in range(num_layers)
        )
        self.tail = MaskAttention(dim, num_heads, num_levels, values=False)

    def forward(
        self,
        query: Tensor,
        memory: Memory,
        query_position: Tensor | None = None,
        every_mask: bool = True,
        rows: Tensor | None = None,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """
        Args:
            query: (B, N, dim), N >= 1.
            query_position: (B, N, dim) or None.
            every_mask: make the masks of the blocks too (deep supervision), not only the last.
            rows: (B, M) long, M >= 1: the queries whose masks are wanted; None for all, M = N.

        Returns:
            masks: (B, M, H_1, W_1) >= 0 of every block (if asked for) and the tail, last the best.
            queries: (B, N, dim) after every block.

        Without ``every_mask``, but with ``exit_after``: the mask of that block, queries up to it.
        """
        tokens = memory.finest(self.num_levels)
        shapes = memory.spatial_shapes[: self.num_levels]
        padding = memory.finest_padding(self.num_levels) if self.ignore_padding else None
        exit_after = 0 if every_mask else self.exit_after
        masks, queries = [], []
        for number, block in enumerate(self.blocks, start=1):
            make_mask = (every_mask and self.block_masks) or number == exit_after
            query, mask = run_layer(
                block,
                *(_add(query, query_position), tokens, shapes, make_mask, padding, rows),
                recompute=self.checkpointing,
            )
            queries.append(query)
            if make_mask:
                masks.append(mask)
            if number == exit_after:
                return masks, queries
        query = _take(_add(query, query_position), rows)
        masks.append(self.tail.mask(*self.tail.project(query, tokens), shapes, padding))
        return masks, queries


class MaskBlock(nn.Module):
    """[self-attention,] cross-attention and feed-forward, all post-norm."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        num_levels: int,
        self_attention: bool,
        makes_masks: bool = True,
    ):
        super().__init__()
        self.self_attn = None
        if self_attention:
            self.self_attn = nn.MultiheadAttention(dim, num_heads, batch_first=True)
            self.self_norm = nn.LayerNorm(dim, eps=1e-6)
            nn.init.xavier_uniform_(self.self_attn.out_proj.weight)
        self.cross_attn = MaskAttention(dim, num_heads, num_levels, values=True, masks=makes_masks)
        self.cross_norm = nn.LayerNorm(dim, eps=1e-6)
        self.ffn = FeedForward(dim, 4 * dim, activation=nn.GELU, norm_eps=1e-6)
        for linear in (self.ffn.linear1, self.ffn.linear2):
            nn.init.xavier_uniform_(linear.weight)

    def forward(
        self,
        query: Tensor,
        tokens: Tensor,
        spatial_shapes: Sequence,
        make_mask: bool,
        padding: Tensor | None = None,
        rows: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        if self.self_attn is not None:
            update, _ = self.self_attn(query, query, query, need_weights=False)
            query = self.self_norm(query + update)
        q, k = self.cross_attn.project(query, tokens)
        mask = None
        if make_mask:
            mask = self.cross_attn.mask(_take(q, rows), k, spatial_shapes, padding)
        update = self.cross_attn.read(q, k, tokens, padding)
        return self.ffn(self.cross_norm(query + update)), mask


class MaskAttention(nn.Module):
    """Multi-head attention that hands out its scores and fuses them into a mask.

    Args:
        values, masks: which of its two uses it has parameters for.
    """

    def __init__(self, dim: int, num_heads: int, num_levels: int, values: bool, masks: bool = True):
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = Linear(dim, dim)
        self.k_proj = Linear(dim, dim)
        if values:
            self.v_proj = Linear(dim, dim)
            self.out_proj = Linear(dim, dim)
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

    def project(self, query: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Queries (B, heads, N, dim / heads) and keys (B, heads, S, dim / heads)."""
        return self._split(self.q_proj(query)), self._split(self.k_proj(tokens))

    def scores(self, query: Tensor, tokens: Tensor) -> Tensor:
        """Scaled scores before the softmax: (B, heads, N, S)."""
        return _scaled_product(*self.project(query, tokens))

    def read(self, q: Tensor, k: Tensor, tokens: Tensor, padding: Tensor | None = None) -> Tensor:
        """Softmax over all levels together, then the weighted values: (B, N, dim).

        It makes no use of the scores of masks: fused, it needs no memory of size N x S.

        Args:
            q, k: of :meth:`project`.
            padding: (B, S) bool, cells that are not read.
        """
        values = self._split(self.v_proj(tokens))
        readable = None if padding is None else ~padding[:, None, None]
        update = F.scaled_dot_product_attention(q, k, values, readable)
        return self.out_proj(update.transpose(1, 2).flatten(2))

    def mask(
        self,
        q: Tensor,
        k: Tensor,
        spatial_shapes: Sequence[tuple[int, int]],
        padding: Tensor | None = None,
    ) -> Tensor:
        """Masks (B, N, H_1, W_1) >= 0 of q, k of :meth:`project`.

        Of all that lies between, many times the size of the masks, nothing is kept for the backward
        pass: making it again takes about a hundredth of a training step.
        """

        def make(q: Tensor, k: Tensor) -> Tensor:
            return self.fuse(_scaled_product(q, k), spatial_shapes, padding)

        return run_layer(make, q, k, recompute=True)

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

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


def _add(query: Tensor, position: Tensor | None) -> Tensor:
    return query if position is None else query + position


def _take(query: Tensor, rows: Tensor | None) -> Tensor:
    """Rows (B, M) of queries (B, ..., N, d), None for all."""
    if rows is None:
        return query
    index = rows.view(len(rows), *[1] * (query.dim() - 3), -1, 1)
    return query.gather(-2, index.expand(*query.shape[:-2], -1, query.shape[-1]))


def _scaled_product(q: Tensor, k: Tensor) -> Tensor:
    return (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)


def _without_padding(maps: Tensor, padding: Tensor | None) -> Tensor:
    """Maps (B, N, h, w), zero in the padded cells (B, h w)."""
    if padding is None:
        return maps
    return maps.masked_fill(padding.view(len(maps), 1, *maps.shape[2:]), 0.0)


def mask_decoder_options(node, num_layers: int) -> dict:
    """Arguments of :class:`MaskDecoder` from the config node MODEL.PSFORMER."""
    return {
        "dim": node.HIDDEN_DIM,
        "num_heads": node.NUM_HEADS,
        "num_layers": num_layers,
        "num_levels": len(node.IN_FEATURES),
        "block_masks": node.MASK_SUPERVISION == "all",
        "exit_after": node.TEST.MASK_LAYERS,
        "ignore_padding": node.MASK_PADDING,
        "checkpointing": "mask_decoder" in node.CHECKPOINTING,
    }
