"""Mask decoder: attention maps are the masks (Panoptic SegFormer, section 3.4)."""

import torch.nn.functional as F
from torch import Tensor, nn

from ...layers import FeedForward, run_layer
from ...utils.checks import check_at_least, check_heads
from ...utils.errors import UserError
from ..pixel_decoder import PixelFeatures
from .mask_attention import MaskAttention, MaskScores, Shapes, select_queries


class MaskDecoder(nn.Module):
    """Blocks of cross-attention whose scores are masks, and a final attention that makes the best.

    Keys carry no position and padding is not masked out, as in the reference. A query position,
    where there is one, is added into the residual stream before every block.

    Args:
        layers: blocks before the final attention.
        num_levels: how many levels, the finest ones, the masks are made of.
        self_attention: the queries attend to each other too (stuff); else each one is on its own.
        deep_supervision: blocks learn to make masks too, not only the final attention.
        exit_after: block that ends the decoder where the last mask alone is asked for; 0 for the
            final attention.
        checkpointing: compute the blocks' activations again in the backward pass.

    Raises:
        UserError: an argument is out of its range.
    """

    def __init__(
        self,
        *,
        dim: int = 256,
        heads: int = 8,
        layers: int = 4,
        num_levels: int = 3,
        self_attention: bool = False,
        deep_supervision: bool = True,
        exit_after: int = 0,
        checkpointing: bool = False,
    ):
        super().__init__()
        check_at_least(0, layers=layers, exit_after=exit_after)
        check_heads(dim, heads)
        if exit_after > layers:
            raise UserError(
                f"exit_after is {exit_after}, but layers is {layers}: give the number of a layer, "
                "or 0 for the final attention."
            )
        if exit_after and not deep_supervision:
            raise UserError(
                f"exit_after is {exit_after}, but masks of layers are not learned without deep "
                "supervision (MODEL.LOSS.DEEP_SUPERVISION): set it to 0."
            )
        self.num_levels, self.exit_after = num_levels, exit_after
        self.deep_supervision = deep_supervision
        self.checkpointing = checkpointing
        self.blocks = nn.ModuleList(
            MaskBlock(dim, heads, num_levels, self_attention) for _ in range(layers)
        )
        self.final_attention = MaskScores(dim, heads, num_levels)
        # Distributed training expects a gradient of every parameter that is not frozen.
        for block in self.blocks:
            for part in (block.cross_attn.level_fc, block.cross_attn.mask_fc):
                part.requires_grad_(deep_supervision)

    def forward(
        self,
        query: Tensor,
        features: PixelFeatures,
        position: Tensor | None = None,
        *,
        every_layer: bool = True,
        mask_rows: Tensor | None = None,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """
        Args:
            query: (B, N, dim), N >= 1.
            position: (B, N, dim) or None.
            every_layer: make the masks of the blocks too, if these learn any.
            mask_rows: (B, M) long, M >= 1: the queries that get masks; None for all, M = N.

        Returns:
            masks: (B, M, H_1, W_1) >= 0 of every block (if asked for) and of the final attention.
            queries: (B, N, dim) after every block.
        """
        tokens, shapes = features.finest(self.num_levels)
        every_layer = every_layer and self.deep_supervision
        exit_after = 0 if every_layer or self.training else self.exit_after
        masks, queries = [], []
        for number, block in enumerate(self.blocks, start=1):
            make_mask = every_layer or number == exit_after
            query, mask = run_layer(
                block,
                *(_add(query, position), tokens, shapes, make_mask, mask_rows),
                recompute=self.checkpointing,
            )
            queries.append(query)
            if make_mask:
                masks.append(mask)
            if number == exit_after:
                return masks, queries
        query = select_queries(_add(query, position), mask_rows)
        masks.append(self.final_attention(query, tokens, shapes))
        return masks, queries


class MaskBlock(nn.Module):
    """[self-attention,] cross-attention and feed-forward, all post-norm."""

    def __init__(self, dim: int, heads: int, num_levels: int, self_attention: bool):
        super().__init__()
        self.self_attn = None
        if self_attention:
            self.self_attn = nn.MultiheadAttention(dim, heads, batch_first=True)
            self.self_norm = nn.LayerNorm(dim, eps=1e-6)
            nn.init.xavier_uniform_(self.self_attn.out_proj.weight)
        self.cross_attn = MaskAttention(dim, heads, num_levels)
        self.cross_norm = nn.LayerNorm(dim, eps=1e-6)
        self.ffn = FeedForward(dim, 4 * dim, activation=F.gelu, norm_eps=1e-6)

    def forward(
        self,
        query: Tensor,
        tokens: Tensor,
        spatial_shapes: Shapes,
        make_mask: bool,
        mask_rows: Tensor | None,
    ) -> tuple[Tensor, Tensor | None]:
        if self.self_attn is not None:
            update, _ = self.self_attn(query, query, query, need_weights=False)
            query = self.self_norm(query + update)
        update, mask = self.cross_attn(query, tokens, spatial_shapes, make_mask, mask_rows)
        return self.ffn(self.cross_norm(query + update)), mask


def _add(query: Tensor, position: Tensor | None) -> Tensor:
    return query if position is None else query + position
