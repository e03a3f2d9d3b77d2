"""Attention whose dropout does not hold up training on a CPU."""

import torch
from torch import Tensor, nn

from .dropout import dropout
from .linear_layer import linear


class MultiheadAttention(nn.MultiheadAttention):
    """``nn.MultiheadAttention``, batch first, of which only the result is wanted.

    PyTorch has no fused attention with dropout on a CPU, and draws a random float for every weight
    with one thread. Here :func:`dropout` does. All else is left to PyTorch.
    """

    def __init__(self, dim: int, num_heads: int, dropout: float = 0.0):
        super().__init__(dim, num_heads, dropout, batch_first=True)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """(B, Q, dim), (B, K, dim), (B, K, dim) -> (B, Q, dim)."""
        drops = self.training and self.dropout > 0
        if not drops or query.device.type != "cpu" or torch.compiler.is_compiling():
            return super().forward(query, key, value, need_weights=False)[0]
        inputs = zip(
            (query, key, value),
            self.in_proj_weight.chunk(3),
            self.in_proj_bias.chunk(3),
            strict=True,
        )
        # (B, heads, n, channels of a head)
        query, key, value = (
            linear(*of_input).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for of_input in inputs
        )
        weights = (query * self.head_dim**-0.5 @ key.mT).softmax(-1)
        seen = dropout(weights, self.dropout) @ value
        return linear(seen.transpose(1, 2).flatten(2), self.out_proj.weight, self.out_proj.bias)
