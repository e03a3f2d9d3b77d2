"""MaskFormer's transformer decoder, which is DETR's (MaskFormer, section 3.3)."""

import torch
from torch import nn

from ...layers import SinePositionEncoding, run_layer
from ...utils.checks import check_at_least, check_fraction, check_heads
from ..outputs import QueryOutputs
from ..pixel_decoder import PixelFeatures
from .mask_heads import MaskHeads, multiply
from .query_layer import QueryLayer


class DetrDecoder(nn.Module):
    """Queries start at zero, read one coarse map in every layer, and give class and mask.

    Args:
        num_classes: without "no object"; None for queries that stand for one class each.
        mask_dim: channels of the mask features.
        checkpointing: compute the layers' activations again in the backward pass.

    Raises:
        UserError: an argument is out of its range.
    """

    def __init__(
        self,
        *,
        num_classes: int | None,
        dim: int = 256,
        mask_dim: int = 256,
        num_queries: int = 100,
        layers: int = 6,
        heads: int = 8,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        checkpointing: bool = False,
    ):
        super().__init__()
        check_at_least(1, num_queries=num_queries, layers=layers, dim_feedforward=dim_feedforward)
        check_heads(dim, heads)
        check_fraction(dropout=dropout)
        self.checkpointing = checkpointing
        self.position = SinePositionEncoding(dim, offset=0.0)
        self.query_embed = nn.Embedding(num_queries, dim)
        self.layers = nn.ModuleList(
            QueryLayer(dim, heads, dim_feedforward, dropout, cross_first=False)
            for _ in range(layers)
        )
        self.mask_heads = MaskHeads(dim, mask_dim, num_classes)

    def forward(self, features: PixelFeatures, every_layer: bool = True) -> QueryOutputs:
        """
        Returns:
            logits (B, Q, classes + 1), for a softmax with "no object" last, and mask logits
            (B, Q, h, w) of every layer, or of the last one alone.
        """
        tokens = features.tokens
        key = tokens + self.position.tokens(features.spatial_shapes[0], tokens.device)
        position = self.query_embed.weight.expand(len(tokens), -1, -1)
        query = torch.zeros_like(position)
        queries = []
        for layer in self.layers:
            query = run_layer(layer, query, position, key, tokens, recompute=self.checkpointing)
            queries.append(query)
        outputs = QueryOutputs()
        for query in queries if every_layer else queries[-1:]:
            logits, embeddings = self.mask_heads(query)
            outputs.masks.append(multiply(embeddings, features.mask_features))
            if logits is not None:
                outputs.logits.append(logits)
        return outputs
