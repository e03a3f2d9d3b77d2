"""Dropout with few random bits."""

import pytest
import torch
from torch import nn

from d2_psformer.layers import Dropout
from d2_psformer.layers.dropout import dropout
from d2_psformer.ops import dropout_kernel


@pytest.fixture(params=["compiled", "plain"], autouse=True)
def way(request, monkeypatch):
    """With the compiled kernel, where there is one, and without."""
    if request.param == "plain":
        monkeypatch.setattr(dropout_kernel, "serves", lambda x: False)
    elif not dropout_kernel.serves(torch.ones(1)):
        pytest.skip("no compiled library here")


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


@pytest.mark.parametrize("gradient", ["expanded", "transposed"])
def test_gradients_of_any_layout_meet_the_same_mask(gradient):
    x = torch.ones(40, 30, requires_grad=True)
    given = torch.ones(()).expand(40, 30) if gradient == "expanded" else torch.ones(30, 40).T
    result = Dropout(0.5)(x)
    result.backward(given)
    assert torch.equal(x.grad, result)


def test_the_layout_of_the_input_does_not_matter():
    x = torch.randn(30, 40)
    results = []
    for layout in (x, x.T.contiguous().T, torch.stack([x, x], -1)[..., 0]):
        torch.manual_seed(1)
        results.append(Dropout(0.3)(layout))
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


def test_nothing_but_the_seed_is_kept():
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda x: x):
        Dropout(0.5)(torch.ones(10, requires_grad=True))
    assert not kept


def test_recomputed_activations_meet_the_same_mask():
    x = torch.randn(1000, requires_grad=True)
    results = []

    def layer(x):
        results.append(dropout(x, 0.5))
        return results[-1] ** 2

    torch.utils.checkpoint.checkpoint(layer, x, use_reentrant=False).sum().backward()
    first, again = results
    assert torch.equal(first, again)
    torch.testing.assert_close(x.grad, 2 * first * (first != 0) * 2)


def test_tracing_sees_pytorchs_own():
    with pytest.warns(match="different output|not match|nondeterministic"):
        traced = torch.jit.trace(Dropout(0.5), torch.ones(100))
    assert "aten::dropout" in str(traced.graph)


def test_nothing_is_dropped_in_evaluation():
    x = torch.randn(10)
    assert Dropout(0.5).eval()(x) is x


@pytest.mark.parametrize("shape", [(0, 3), (), (1,), (5,)])
def test_small_shapes(shape):
    assert Dropout(0.5)(torch.ones(shape)).shape == shape
