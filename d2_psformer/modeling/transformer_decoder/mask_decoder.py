"""Mask decoder: attention maps are the masks (paper, section 3.4)."""

from collections.abc import Sequence

from torch import Tensor, nn

from ...layers import FeedForward, run_layer
from ..pixel_decoder import Memory
from .mask_attention import MaskAttention, take_rows


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
        query = take_rows(_add(query, query_position), rows)
        masks.append(self.tail(query, tokens, shapes, padding=padding)[1])
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
        update, mask = self.cross_attn(query, tokens, spatial_shapes, make_mask, padding, rows)
        return self.ffn(self.cross_norm(query + update)), mask


def _add(query: Tensor, position: Tensor | None) -> Tensor:
    return query if position is None else query + position


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
