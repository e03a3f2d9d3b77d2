"""Our linear layers give PyTorch's numbers, whichever library multiplies."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from d2_psformer.layers import FeedForward, Linear
from d2_psformer.layers import feed_forward as feed_forward_module
from d2_psformer.layers.linear_layer import linear, linear_relu


@given(
    rows=st.lists(st.integers(0, 5), max_size=3),
    channels=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    with_bias=st.booleans(),
    relu=st.booleans(),
)
def test_result_and_gradients(rows, channels, with_bias, relu):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(*rows, channels[0], generator=generator).requires_grad_()
    weight = torch.randn(channels[::-1], generator=generator).requires_grad_()
    bias = torch.randn(channels[1], generator=generator).requires_grad_() if with_bias else None
    expected = F.linear(x, weight, bias)
    expected = expected.relu() if relu else expected
    result = (linear_relu if relu else linear)(x, weight, bias)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)
    inputs = [t for t in (x, weight, bias) if t is not None]
    gradient = torch.randn(expected.shape, generator=generator)
    torch.testing.assert_close(
        torch.autograd.grad(result, inputs, gradient),
        torch.autograd.grad(expected, inputs, gradient),
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.parametrize("shape", [(1, 2048, 6), (2, 1500, 33), (2, 6, 4096)])
@pytest.mark.parametrize("strided", [False, True])
def test_weight_gradient_of_many_rows(shape, strided):
    x, weight = torch.randn(shape), torch.randn(7, shape[-1], requires_grad=True)
    if shape[-1] == 4096:
        x, weight = x.transpose(1, 2), torch.randn(7, 6, requires_grad=True)
    gradient = torch.randn(*x.shape[:-1], 14)[..., ::2] if strided else torch.ones(*x.shape[:-1], 7)
    (found,) = torch.autograd.grad(linear(x, weight, None), weight, gradient)
    expected = gradient.double().flatten(0, 1).T @ x.double().flatten(0, 1)
    torch.testing.assert_close(found, expected.float(), rtol=1e-4, atol=1e-3)


def test_layouts_of_any_kind():
    x = torch.randn(2, 9, 16)
    for part in (x[:, :4], x.transpose(0, 1), x[:, :, ::2]):
        layer = Linear(part.shape[-1], 8)
        with torch.no_grad():
            torch.testing.assert_close(layer(part), nn.Linear.forward(layer, part))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dropout_after_a_relu(dtype):
    x, weight = torch.randn(50, 16, dtype=dtype), torch.randn(40, 16, dtype=dtype)
    x.requires_grad_(), weight.requires_grad_()
    result = linear_relu(x, weight, None, drop=0.25)
    plain = F.linear(x, weight).relu()
    kept = (result != 0).to(dtype)
    assert 0.2 < 1 - kept.sum() / (plain > 0).sum() < 0.3
    torch.testing.assert_close(result, plain * kept / 0.75)
    gradient = torch.randn_like(result)
    torch.testing.assert_close(
        torch.autograd.grad(result, (x, weight), gradient),
        torch.autograd.grad(plain * kept / 0.75, (x, weight), gradient),
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types(dtype):
    layer = Linear(16, 8).to(dtype)
    x = torch.randn(3, 16, dtype=dtype)
    torch.testing.assert_close(layer(x), nn.Linear.forward(layer, x))


def test_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        assert Linear(16, 8)(torch.randn(3, 16)).dtype == torch.bfloat16


def test_only_what_needs_a_gradient_gets_one():
    layer = Linear(16, 8)
    layer.weight.requires_grad_(False)
    layer(torch.randn(3, 16)).sum().backward()
    assert layer.weight.grad is None
    torch.testing.assert_close(layer.bias.grad, torch.full((8,), 3.0))


def test_a_loaded_layer_is_the_same():
    plain = nn.Linear(16, 8)
    ours = Linear(16, 8)
    ours.load_state_dict(plain.state_dict())
    x = torch.randn(3, 16)
    torch.testing.assert_close(copy.deepcopy(ours)(x), plain(x))


def test_compiles_without_breaks():
    layer = Linear(16, 8)
    x = torch.randn(3, 16)
    exported = torch.export.export(layer, (x,))
    torch.testing.assert_close(exported.module()(x), layer(x))
    assert [str(n.target) for n in exported.graph.nodes if n.op == "call_function"] == [
        "aten.linear.default"
    ]


@pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU])
def test_pieces_of_a_feed_forward_layer(activation, monkeypatch):
    monkeypatch.setattr(feed_forward_module, "_ROWS", 5)
    layer = FeedForward(8, 32, activation=activation)
    x = torch.randn(2, 7, 8)
    whole = layer(x)  # with gradients: in one piece
    with torch.no_grad():
        torch.testing.assert_close(layer(x), whole)
