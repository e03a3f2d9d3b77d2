"""Our convolution is F.conv2d, whichever algorithm computes it."""

from unittest.mock import Mock

import pytest
import torch
import torch.nn.functional as F

from d2_psformer.layers import conv2d, conv2d_gradients
from d2_psformer.ops import winograd_kernel

SAME_SIZE = ((1, 1), (1, 1), (1, 1), 1)
# stride, padding, dilation, groups
OPTIONS = [
    SAME_SIZE,
    ((2, 2), (1, 1), (1, 1), 1),
    ((1, 1), (0, 0), (1, 1), 1),
    ((1, 1), (2, 2), (2, 2), 1),
    ((1, 1), (1, 1), (1, 1), 2),
    ((1, 1), "same", (1, 1), 1),
]


@pytest.fixture
def inputs():
    torch.manual_seed(0)
    x = torch.randn(2, 32, 21, 18).contiguous(memory_format=torch.channels_last)
    return x.requires_grad_(), torch.randn(64, 32, 3, 3, requires_grad=True)


@pytest.fixture
def kernel_calls(monkeypatch):
    """Tells how often each function of the kernel was called so far."""
    if winograd_kernel.backends.unavailable("cpu"):
        pytest.skip("No kernel was compiled.")
    spies = {}
    for name in ("convolution", "input_gradient", "weight_gradient"):
        spies[name] = Mock(wraps=getattr(winograd_kernel, name))
        monkeypatch.setattr(winograd_kernel, name, spies[name])
    return lambda: tuple(spy.call_count for spy in spies.values())


def assert_near(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("kernel", [True, False])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("with_bias", [True, False])
def test_result_and_gradients(inputs, options, with_bias, kernel, monkeypatch):
    if not kernel:
        monkeypatch.setattr(winograd_kernel, "serves", lambda x, weight: False)
    x, weight = inputs
    weight = weight[:, : 32 // options[3]]
    bias = torch.randn(64, requires_grad=True) if with_bias else None
    expected, found = F.conv2d(x, weight, bias, *options), conv2d(x, weight, bias, *options)
    assert_near(found, expected)
    gradient = torch.randn(expected.shape)
    sources = [x, inputs[1], *([bias] if with_bias else [])]
    of_expected = torch.autograd.grad(expected, sources, gradient)
    assert_near(torch.autograd.grad(found, sources, gradient), of_expected)
    if options[1] != "same":
        wanted = conv2d_gradients(gradient, x.detach(), weight.detach(), *options, (True, False))
        assert_near(wanted[0], of_expected[0])
        assert wanted[1] is None


def test_only_wanted_gradients_are_computed(inputs, kernel_calls):
    x, weight = inputs
    conv2d(x, weight.detach(), None, *SAME_SIZE).sum().backward()
    assert kernel_calls() == (1, 1, 0)
    conv2d(x.detach(), weight, None, *SAME_SIZE).sum().backward()
    assert kernel_calls() == (2, 1, 1)


def test_autocast_compilers_and_other_types_take_pytorchs(inputs, kernel_calls):
    x, weight = (t.detach() for t in inputs)
    with torch.autocast("cpu", torch.bfloat16):
        assert conv2d(x, weight, None, *SAME_SIZE).dtype == torch.bfloat16
    graph = torch.export.export(Convolution(), (x, weight)).graph
    assert any("conv2d" in str(node.target) for node in graph.nodes)
    conv2d(x.double(), weight.double(), None, *SAME_SIZE)
    assert kernel_calls() == (0, 0, 0)


class Convolution(torch.nn.Module):
    def forward(self, x, weight):
        return conv2d(x, weight, None, *SAME_SIZE)
