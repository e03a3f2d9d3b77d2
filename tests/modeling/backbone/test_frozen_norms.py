"""Frozen batch norms against those of PyTorch."""

import copy

import pytest
import torch
from torch import nn

from d2_psformer.modeling.backbone.frozen_norms import freeze_batch_norms


@pytest.fixture
def norm():
    """In evaluation mode, with nothing to learn."""
    norm = nn.BatchNorm2d(6).eval().requires_grad_(False)
    nn.init.normal_(norm.running_mean)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    nn.init.normal_(norm.bias)
    return norm


@pytest.fixture
def frozen(norm):
    model = nn.Sequential(copy.deepcopy(norm))
    freeze_batch_norms(model)
    return model


@pytest.mark.parametrize("dtype, allowed", [(torch.float32, 1e-6), (torch.bfloat16, 2e-2)])
def test_equal_to_pytorch(norm, frozen, dtype, allowed):
    image = torch.randn(2, 6, 5, 7, dtype=dtype)
    expected = norm(image)
    for model in (frozen.eval(), frozen.train()):
        result = model(image)
        assert result.dtype == dtype
        assert (result - expected).abs().max() <= allowed * expected.abs().max()


def test_gradients_need_no_memory(norm, frozen):
    image = torch.randn(2, 6, 5, 7, requires_grad=True)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x) or x, lambda x: x):
        result = frozen(image)
    assert max(x.numel() for x in saved) == 6
    weights = torch.randn_like(image)
    grads = [torch.autograd.grad(y, image, weights)[0] for y in (result, norm(image))]
    torch.testing.assert_close(*grads)


def test_names_of_the_state_stay(norm, frozen):
    assert frozen[0].state_dict().keys() == norm.state_dict().keys()
