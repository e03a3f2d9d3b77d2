"""The compiled convolution with 3x3 kernels gives the numbers of a direct one in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from d2_psformer.ops.winograd_kernel import convolution, input_gradient, serves, weight_gradient

pytestmark = pytest.mark.usefixtures("cpu_library")

# (B, in, out, H, W): less than a tile, tiles cut off on both sides, a line, several portions of
# tiles, several groups of kernels and both.
CASES = [
    (1, 32, 32, 1, 1),
    (2, 32, 64, 5, 7),
    (3, 96, 32, 4, 8),
    (1, 32, 32, 1, 50),
    (2, 64, 96, 62, 63),
    (1, 512, 160, 9, 9),
    (1, 288, 512, 32, 34),
]


def near(found: Tensor, expected: Tensor, tolerance: float) -> None:
    """Errors count in units of the typical number, so that small numbers may be less exact."""
    error = (found.double() - expected).abs().max() / expected.square().mean().sqrt()
    assert found.shape == expected.shape
    assert error < tolerance


def channels_last(*shape: int) -> Tensor:
    return torch.randn(shape).contiguous(memory_format=torch.channels_last)


def direct_gradients(gradient: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    x, weight = (t.double().requires_grad_() for t in (x, weight))
    return torch.autograd.grad(F.conv2d(x, weight, padding=1), (x, weight), gradient.double())


@pytest.mark.parametrize(("batch", "channels", "out", "height", "width"), CASES)
def test_results_and_gradients(isa, batch, channels, out, height, width):
    torch.manual_seed(0)
    x, gradient = (channels_last(batch, c, height, width) for c in (channels, out))
    weight, bias = torch.randn(out, channels, 3, 3), torch.randn(2 * out)[::2]
    expected = F.conv2d(x.double(), weight.double(), bias.double(), padding=1)
    near(convolution(x, weight, bias), expected, 1e-4)
    of_x, of_weight = direct_gradients(gradient, x, weight)
    near(input_gradient(gradient, weight), of_x, 1e-4)
    near(weight_gradient(gradient, x, weight), of_weight, 3e-4)


def test_weights_of_any_layout():
    torch.manual_seed(0)
    x, gradient = channels_last(1, 32, 20, 20), channels_last(1, 64, 20, 20)
    plain = torch.randn(64, 32, 3, 3)
    expected = convolution(x, plain), input_gradient(gradient, plain)
    of_weight = weight_gradient(gradient, x, plain)
    turned = plain.permute(3, 1, 0, 2).contiguous().permute(2, 1, 3, 0)
    for weight in (plain.contiguous(memory_format=torch.channels_last), turned):
        assert torch.equal(weight, plain)
        assert torch.equal(convolution(x, weight), expected[0])
        assert torch.equal(input_gradient(gradient, weight), expected[1])
        found = weight_gradient(gradient, x, weight)
        assert torch.equal(found, of_weight)
        assert found.stride() == weight.stride()


def test_results_are_channels_last():
    x = channels_last(2, 32, 20, 20)
    assert convolution(x, torch.ones(64, 32, 3, 3)).is_contiguous(memory_format=torch.channels_last)


def test_threads_change_nothing():
    torch.manual_seed(0)
    x, gradient, weight = (
        *(channels_last(1, 256, 40, 41), channels_last(1, 96, 40, 41)),
        torch.randn(96, 256, 3, 3),
    )
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(
                (
                    convolution(x, weight),
                    input_gradient(gradient, weight),
                    weight_gradient(gradient, x, weight),
                )
            )
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(map(torch.equal, other, found[0]))


def test_a_kernel_that_only_copies():
    """A one in the middle of each kernel: the map comes back, its border too."""
    x = channels_last(1, 32, 19, 22)
    weight = torch.zeros(32, 32, 3, 3)
    weight[range(32), range(32), 1, 1] = 1
    torch.testing.assert_close(convolution(x, weight), x, rtol=1e-5, atol=1e-5)


def test_what_it_serves():
    x, weight = channels_last(1, 32, 20, 20), torch.ones(64, 32, 3, 3)
    assert serves(x, weight)
    assert not serves(x.contiguous(), weight)
    assert not serves(x[0], weight)
    assert not serves(x.double(), weight.double())
    assert not serves(x.bfloat16(), weight.bfloat16())
    assert not serves(x.to("meta"), weight)
    assert not serves(x, torch.ones(64, 32, 1, 1))
    assert not serves(x, torch.ones(60, 32, 3, 3))
    assert not serves(x, torch.ones(64, 16, 3, 3))
    assert not serves(channels_last(1, 32, 4, 4), weight)
