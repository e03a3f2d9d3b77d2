"""Perceptrons."""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .dropout import Dropout
from .linear_layer import Linear, linear_relu

# Rows whose hidden channels stay in the cache of a CPU from one matrix product to the next.
_ROWS = 2048


class MLP(nn.Module):
    """Linear layers with ReLU between them, none after the last."""

    def __init__(self, in_dim: int, hidden_dim: int, out_dim: int, num_layers: int):
        super().__init__()
        dims = [in_dim] + [hidden_dim] * (num_layers - 1) + [out_dim]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(dims))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


class FeedForward(nn.Module):
    """Post-norm transformer feed-forward layer: norm(x + drop(W2 drop(act(W1 x))))."""

    def __init__(
        self,
        dim: int,
        hidden_dim: int,
        dropout: float = 0.0,
        activation: type[nn.Module] = nn.ReLU,
        norm_eps: float = 1e-5,
    ):
        super().__init__()
        self.linear1 = Linear(dim, hidden_dim)
        self.activation = activation()
        self.linear2 = Linear(hidden_dim, dim)
        self.norm = nn.LayerNorm(dim, eps=norm_eps)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) -> (..., dim)."""
        if x.is_cuda or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self._layer(x)
        pieces = x.flatten(0, -2).split(_ROWS)
        return torch.cat([self._layer(piece) for piece in pieces]).view(x.shape)

    def _layer(self, x: Tensor) -> Tensor:
        if isinstance(self.activation, nn.ReLU):
            drop = self.dropout.p if self.training else 0.0
            hidden = linear_relu(x, self.linear1.weight, self.linear1.bias, drop)
        else:
            hidden = self.dropout(self.activation(self.linear1(x)))
        return self.norm(x + self.dropout(self.linear2(hidden)))
