"""Dropout with few random bits."""

import pytest
import torch
from torch import nn

from d2_psformer.layers import Dropout


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
def test_share_scale_and_gradient(p, dtype):
    torch.manual_seed(0)
    x = torch.ones(301, 333, dtype=dtype, requires_grad=True)
    result = Dropout(p)(x)
    dropped = result == 0
    assert dropped.double().mean().item() == pytest.approx(p, abs=4e-3)
    if p < 1:
        kept = nn.Dropout(p)(torch.ones(999, dtype=dtype)).max()
        assert torch.equal(result[~dropped], kept.expand_as(result[~dropped]))
    result.sum().backward()
    assert torch.equal(x.grad, result)


def test_every_place_is_dropped_on_its_own():
    """Neighbours share a random word, but no bit of it."""
    torch.manual_seed(0)
    dropped = (Dropout(0.3)(torch.ones(40000, 7)) == 0).double()
    assert torch.allclose(dropped.mean(0), torch.tensor(0.3, dtype=torch.double), atol=0.01)
    off_diagonal = torch.corrcoef(dropped.T) - torch.eye(7)
    assert off_diagonal.abs().max() < 0.02


def test_the_seed_decides():
    x = torch.ones(100)
    torch.manual_seed(1)
    first = Dropout(0.5)(x)
    second = Dropout(0.5)(x)
    torch.manual_seed(1)
    assert torch.equal(Dropout(0.5)(x), first)
    assert not torch.equal(second, first)


def test_nothing_is_dropped_in_evaluation():
    x = torch.randn(10)
    assert Dropout(0.5).eval()(x) is x


@pytest.mark.parametrize("shape", [(0, 3), (), (1,), (5,)])
def test_small_shapes(shape):
    assert Dropout(0.5)(torch.ones(shape)).shape == shape
