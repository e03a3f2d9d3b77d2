"""Mask2Former's transformer decoder: masked attention (Mask2Former, section 3.2)."""

import torch.nn.functional as F
from torch import Tensor, nn

from ...layers import run_layer
from ..outputs import QueryOutputs
from ..pixel_decoder import PixelFeatures
from .mask_heads import multiply
from .query_decoder import QueryDecoder


class MaskedAttentionDecoder(QueryDecoder):
    """Each layer reads one level, coarse to fine in turn, inside the masks predicted before it.

    The first masks come from the learned queries alone, before any layer, and are supervised too.

    Args:
        num_levels: of the features.
        shared: arguments of :class:`QueryDecoder`.
    """

    def __init__(self, *, num_levels: int = 3, **shared):
        super().__init__(cross_first=True, **shared)
        num_queries, dim = self.query_embed.weight.shape
        self.query_feat = nn.Embedding(num_queries, dim)
        self.level_embed = nn.Embedding(num_levels, dim)

    def forward(self, features: PixelFeatures, every_layer: bool = True) -> QueryOutputs:
        """
        Returns:
            logits (B, Q, classes + 1), for a softmax with "no object" last, and mask logits
            (B, Q, h, w): of the learned queries and of every layer, or of the last one alone.
        """
        levels = self._levels(features)
        batch = features.tokens.shape[0]
        query = self.query_feat.weight.expand(batch, -1, -1)
        position = self.query_embed.weight.expand(batch, -1, -1)
        predictions = [self.mask_heads(query)]
        for number, layer in enumerate(self.layers):
            key, value, mask_features = levels[number % len(levels)]
            _, embeddings = predictions[-1]
            inputs = query, position, key, value, outside(embeddings, mask_features)
            query = run_layer(layer, *inputs, recompute=self.checkpointing)
            predictions.append(self.mask_heads(query))
        outputs = QueryOutputs()
        for logits, embeddings in predictions if every_layer else predictions[-1:]:
            outputs.logits.append(logits)
            outputs.masks.append(multiply(embeddings, features.mask_features))
        return outputs

    def _levels(self, features: PixelFeatures) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Keys and values (B, S_l, dim), and mask features (B, C, H_l, W_l), coarse to fine.

        Resizing the mask features once is resizing all masks: both are linear.
        """
        shapes = features.spatial_shapes
        tokens = features.tokens.split([h * w for h, w in shapes], dim=1)
        levels = []
        codes = self.level_embed.weight
        for level, shape, code in zip(tokens[::-1], shapes[::-1], codes, strict=True):
            value = level + code
            key = value + self.position.tokens(shape, value.device)
            mask_features = F.interpolate(features.mask_features.detach(), shape, mode="bilinear")
            levels.append((key, value, mask_features))
        return levels


def outside(embeddings: Tensor, mask_features: Tensor) -> Tensor:
    """Cells (B, Q, h * w) where the mask of a query is not; nowhere for a mask that is empty.

    A query whose mask has no cell reads all of them, because a softmax over none is not defined.
    """
    blocked = multiply(embeddings.detach(), mask_features).flatten(2) < 0
    return blocked & ~blocked.all(-1, keepdim=True)
