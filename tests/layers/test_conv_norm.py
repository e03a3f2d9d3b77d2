"""Initial weights as Keras draws them, and sizes."""

import pytest
import torch

from d2_psformer.layers import ConvNorm, resize, separable, truncated_normal_


def test_truncated_normal():
    weight = truncated_normal_(torch.empty(100_000), 0.3)
    assert weight.abs().max() <= 0.6
    assert weight.std() == pytest.approx(0.3 * 0.87962566, rel=0.01)


def test_convolutions_keep_the_variance_of_half_of_their_inputs():
    """He's rule: a standard deviation of sqrt(2 / inputs) after the cut."""
    layer = ConvNorm(32, 256, 3)
    assert layer.conv.weight.detach().std() == pytest.approx((2 / (9 * 32)) ** 0.5, rel=0.02)
    assert layer.conv.bias is None
    assert (layer.norm.eps, layer.norm.momentum) == (1e-3, 0.01)


def test_the_norm_at_the_end_of_a_branch_starts_from_zero():
    assert not ConvNorm(4, 4, scale=0.0)(torch.randn(2, 4, 3, 3)).any()


def test_depthwise_weights_are_uniform_with_keras_bounds():
    weight = separable(64, 8).depthwise.conv.weight
    bound = (6 / (25 * 65)) ** 0.5
    assert 0.95 * bound < weight.abs().max() <= bound


@pytest.mark.parametrize("options", [{}, {"kernel_size": 3}, {"kernel_size": 3, "dilation": 2}])
def test_sizes_round_up(options):
    for size in (8, 9):
        y = ConvNorm(2, 3, stride=2, **options)(torch.zeros(2, 2, size, size))
        assert y.shape == (2, 3, (size + 1) // 2, (size + 1) // 2)


def test_resizing_keeps_the_corners():
    x = torch.randn(1, 1, 3, 4)
    y = resize(x, (5, 7))
    torch.testing.assert_close(y[..., ::2, ::2], x)
