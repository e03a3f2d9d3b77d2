"""MaskFormer's transformer decoder, which is DETR's (MaskFormer, section 3.3)."""

import torch

from ...layers import run_layer
from ..outputs import QueryOutputs
from ..pixel_decoder import PixelFeatures
from .mask_heads import multiply
from .query_decoder import QueryDecoder


class DetrDecoder(QueryDecoder):
    """Queries start at zero, read one coarse map in every layer, and give class and mask."""

    def forward(self, features: PixelFeatures, every_layer: bool = True) -> QueryOutputs:
        """
        Returns:
            logits (B, Q, classes + 1), for a softmax with "no object" last, and mask logits
            (B, Q, h, w) of every layer, or of the last one alone.
        """
        tokens = features.tokens
        key = tokens + self.position.tokens(features.spatial_shapes[0], tokens.device)
        position = self.query_embed.weight.expand(tokens.shape[0], -1, -1)
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
