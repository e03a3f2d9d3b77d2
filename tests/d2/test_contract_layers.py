"""Frozen batch norm and shape records, the same on both backends."""

import pytest
import torch
from torch import nn

from d2_psformer.d2.layers import FrozenBatchNorm2d, ShapeSpec


def trained_norm(channels=5, **kwargs):
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(channels, **kwargs)
    if norm.affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    norm(torch.randn(8, channels, 3, 3) * 2 + 1)
    return norm.eval()


def test_new_layer_is_the_identity_and_has_no_parameters():
    layer = FrozenBatchNorm2d(4)
    x = torch.randn(2, 4, 3, 3)
    torch.testing.assert_close(layer(x), x)
    assert not list(layer.parameters())
    assert set(layer.state_dict()) == {"weight", "bias", "running_mean", "running_var"}


@pytest.mark.parametrize("kwargs", [{}, {"eps": 1e-2}, {"affine": False}])
@pytest.mark.parametrize("needs_gradient", [False, True])
def test_converted_norm_computes_the_same(kwargs, needs_gradient):
    norm = trained_norm(**kwargs)
    frozen = FrozenBatchNorm2d.convert_frozen_batchnorm(norm)
    x = torch.randn(2, 5, 4, 4, requires_grad=needs_gradient)
    torch.testing.assert_close(frozen(x), norm(x), rtol=1e-5, atol=1e-6)
    frozen.train()
    torch.testing.assert_close(frozen(x), norm(x), rtol=1e-5, atol=1e-6)


def test_half_precision_stays():
    layer = FrozenBatchNorm2d(4).to(torch.bfloat16)
    x = torch.randn(1, 4, 2, 2, dtype=torch.bfloat16, requires_grad=True)
    assert layer(x).dtype == torch.bfloat16


def test_conversion_goes_through_a_whole_module():
    model = nn.Sequential(nn.Conv2d(3, 5, 1), nn.Sequential(trained_norm(), nn.ReLU())).eval()
    x = torch.randn(1, 3, 4, 4)
    expected = model(x)
    state = model.state_dict()
    assert FrozenBatchNorm2d.convert_frozen_batchnorm(model) is model
    assert isinstance(model[1][0], FrozenBatchNorm2d)
    torch.testing.assert_close(model(x), expected)
    # a state dict of the trained model fits the frozen one and back
    model.load_state_dict(state)
    assert set(model.state_dict()) == set(state)
    assert {name for name, _ in model.named_parameters()} == {"0.weight", "0.bias"}


def test_old_state_without_statistics_loads():
    layer = FrozenBatchNorm2d(2)
    layer.load_state_dict({"weight": torch.full((2,), 3.0), "bias": torch.ones(2)})
    x = torch.randn(1, 2, 3, 3)
    torch.testing.assert_close(layer(x), 3 * x + 1, rtol=1e-4, atol=1e-4)


def test_shape_spec():
    spec = ShapeSpec(channels=3, stride=4)
    assert (spec.channels, spec.height, spec.width, spec.stride) == (3, None, None, 4)
    assert spec == ShapeSpec(3, None, None, 4)
