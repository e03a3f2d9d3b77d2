"""One layer of the decoders in which queries read dense maps."""

from torch import Tensor, nn

from ...layers import Attention, FeedForward


class QueryLayer(nn.Module):
    """Self-attention, cross-attention and feed-forward, all post-norm (DETR).

    Args:
        cross_first: cross-attention comes before self-attention (Mask2Former, section 3.2.3).
    """

    def __init__(
        self, dim: int, heads: int, dim_feedforward: int, dropout: float, cross_first: bool
    ):
        super().__init__()
        self.cross_first = cross_first
        self.self_attn = Attention(dim, heads, dropout)
        self.self_norm = nn.LayerNorm(dim)
        self.cross_attn = Attention(dim, heads, dropout)
        self.cross_norm = nn.LayerNorm(dim)
        self.ffn = FeedForward(dim, dim_feedforward, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        query: Tensor,
        position: Tensor,
        key: Tensor,
        value: Tensor,
        blocked: Tensor | None = None,
    ) -> Tensor:
        """
        Args:
            query, position: (B, Q, dim).
            key, value: (B, S, dim), cells with and without their position.
            blocked: (B, Q, S) bool, True where a query must not read; None for nowhere.

        Returns:
            (B, Q, dim).
        """
        if self.cross_first:
            query = self._read(query, position, key, value, blocked)
            query = self._exchange(query, position)
        else:
            query = self._exchange(query, position)
            query = self._read(query, position, key, value, blocked)
        return self.ffn(query)

    def _exchange(self, query: Tensor, position: Tensor) -> Tensor:
        located = query + position
        update = self.self_attn(located, located, query)
        return self.self_norm(query + self.dropout(update))

    def _read(
        self, query: Tensor, position: Tensor, key: Tensor, value: Tensor, blocked: Tensor | None
    ) -> Tensor:
        update = self.cross_attn(query + position, key, value, blocked)
        return self.cross_norm(query + self.dropout(update))
