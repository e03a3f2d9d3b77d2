"""Activations that are computed twice instead of being kept."""

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def run_layer(layer: nn.Module, *inputs, recompute: bool = False):
    """``layer(*inputs)``; with ``recompute``, only the inputs are kept for the backward pass.

    Everything inside is then computed once more when the gradient comes (Chen et al., 2016), with
    the same random numbers: a third more time for a fraction of the memory.
    """
    if recompute and torch.is_grad_enabled():
        return checkpoint(layer, *inputs, use_reentrant=False)
    return layer(*inputs)
