"""Multi-layer perceptrons."""

import itertools
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn


class MLP(nn.Module):
    """Linear layers with an activation, a ReLU by default, between every two."""

    def __init__(
        self,
        in_dim: int,
        hidden_dim: int,
        out_dim: int,
        num_layers: int,
        activation: Callable[[Tensor], Tensor] = F.relu,
    ):
        super().__init__()
        self.activation = activation
        dims = [in_dim] + [hidden_dim] * (num_layers - 1) + [out_dim]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(dims))

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_dim) -> (..., out_dim)."""
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        return self.layers[-1](x)


class FeedForward(nn.Module):
    """Post-norm feed-forward layer of a transformer: norm(x + drop(W2 relu(drop(W1 x)))).

    Dropout before a ReLU is the same as behind it, because it zeroes or scales. This way the ReLU
    can work in place, and one map less of hidden channels is kept for the backward pass.

    Args:
        activation: ``F.gelu`` takes the place of the ReLU in layers without dropout.
    """

    def __init__(
        self,
        dim: int,
        hidden_dim: int,
        dropout: float = 0.0,
        activation: Callable[[Tensor], Tensor] = F.relu_,
        norm_eps: float = 1e-5,
    ):
        super().__init__()
        if dropout and activation is not F.relu_:
            raise ValueError("Dropout and this activation cannot change places.")
        self.linear1 = nn.Linear(dim, hidden_dim)
        self.linear2 = nn.Linear(hidden_dim, dim)
        for linear in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(linear.weight)
        self.norm = nn.LayerNorm(dim, eps=norm_eps)
        self.activation = activation
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) -> (..., dim)."""
        hidden = self.activation(self.dropout(self.linear1(x)))
        return self.norm(x + self.dropout(self.linear2(hidden)))
