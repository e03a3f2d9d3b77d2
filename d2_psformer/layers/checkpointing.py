"""Activation checkpointing."""

from collections.abc import Callable

import torch
from torch.utils.checkpoint import checkpoint


def run_layer(layer: Callable, *inputs, recompute: bool = False):
    """``layer(*inputs)``; with ``recompute``, only the inputs are kept for the backward pass.

    Everything inside is then computed a second time, with the same random numbers, when its
    gradient is needed (Chen et al., 2016). This takes about a third more time and a fraction of
    the memory.
    """
    if recompute and torch.is_grad_enabled():
        return checkpoint(layer, *inputs, use_reentrant=False)
    return layer(*inputs)
