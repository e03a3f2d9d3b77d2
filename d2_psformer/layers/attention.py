"""Multi-head attention with a mask for all heads together."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head attention (Vaswani et al., 2017) with ``nn.MultiheadAttention``'s parameters.

    That one copies a mask for every head. This one takes a single mask, which saves most of the
    memory of masked attention over many cells.

    Args:
        dim: channels, a multiple of ``heads``.
        dropout: of the attention weights.
    """

    def __init__(self, dim: int, heads: int, dropout: float = 0.0):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.xavier_uniform_(self.out_proj.weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, blocked: Tensor | None = None
    ) -> Tensor:
        """
        Args:
            query: (B, Q, dim).
            key, value: (B, S, dim).
            blocked: (B, Q, S) bool, True where a query must not read; never True in a whole row.

        Returns:
            (B, Q, dim).
        """
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        q, k, v = (
            F.linear(x, weight, bias).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for x, weight, bias in zip((query, key, value), weights, biases, strict=True)
        )
        dropout = self.dropout if self.training else 0.0
        allowed = None if blocked is None else ~blocked[:, None]
        read = F.scaled_dot_product_attention(q, k, v, allowed, dropout)
        return self.out_proj(read.transpose(1, 2).flatten(2))
