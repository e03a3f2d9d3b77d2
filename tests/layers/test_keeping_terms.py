"""What is kept for the backward pass, and what is made again."""

import gc
import weakref
from contextlib import nullcontext

import torch
from torch import nn

from d2_psformer.layers import keeping_terms_of


def gradients(keeps_terms: bool) -> tuple[tuple[torch.Tensor, ...], bool]:
    """Of a layer of a sum, and whether the sum lived on until the backward pass."""
    torch.manual_seed(0)
    layer = nn.Linear(8, 8).double()
    x, y = (torch.randn(5, 8, dtype=torch.float64, requires_grad=True) for _ in range(2))
    total = x + y
    with keeping_terms_of(total, x, y) if keeps_terms else nullcontext():
        result = layer(total)
    memory = weakref.ref(total.untyped_storage())
    del total
    gc.collect()
    lives = memory() is not None
    return torch.autograd.grad(result.square().sum(), [x, y, *layer.parameters()]), lives


def test_a_sum_is_made_again_from_its_terms():
    expected, lived = gradients(keeps_terms=False)
    found, lives = gradients(keeps_terms=True)
    torch.testing.assert_close(found, expected)
    assert lived and not lives
