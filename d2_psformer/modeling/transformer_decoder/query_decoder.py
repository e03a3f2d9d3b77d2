"""What the transformer decoders of MaskFormer and Mask2Former share."""

from torch import nn

from ...layers import SinePositionEncoding
from ...utils.checks import check_at_least, check_fraction, check_heads
from .mask_heads import MaskHeads
from .query_layer import QueryLayer


class QueryDecoder(nn.Module):
    """Learned query positions, layers in which queries read maps, and heads for class and mask.

    Args:
        num_classes: without "no object"; None for queries that stand for one class each.
        mask_dim: channels of the mask features.
        cross_first: cross-attention comes before self-attention.
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
        cross_first: bool = False,
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
            QueryLayer(dim, heads, dim_feedforward, dropout, cross_first) for _ in range(layers)
        )
        self.mask_heads = MaskHeads(dim, mask_dim, num_classes)
