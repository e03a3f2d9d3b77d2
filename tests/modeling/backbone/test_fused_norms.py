"""Backbones with fused batch norms against the same backbones before."""

import copy

import pytest
import torch
from torch import nn

from d2_psformer.modeling.backbone import TimmBackbone, fuse_batch_norms


def backbone(name: str, norm: str = "BN") -> TimmBackbone:
    """In evaluation mode, with norms that change what they read."""
    model = TimmBackbone(name=name, out_features=["res3", "res4", "res5"], norm=norm).eval()
    for one in norms(model):
        nn.init.normal_(one.running_mean, std=0.1)
        nn.init.uniform_(one.running_var, 0.5, 2)
        nn.init.uniform_(one.weight, 0.5, 1.5)
        nn.init.normal_(one.bias)
    return model


def norms(model: nn.Module) -> list[nn.BatchNorm2d]:
    return [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]


# basic blocks (the norm behind a deep stem is not a neighbour of its convolution), bottlenecks,
# squeeze-and-excitation; in resnext26ts, norms and activations are one module
@pytest.mark.parametrize(
    "name, norms_left", [("resnet10t", 1), ("resnet50", 0), ("seresnet50", 0), ("resnext26ts", 31)]
)
@pytest.mark.parametrize("norm", ["BN", "FrozenBN"])
@torch.no_grad()
def test_features_stay_the_same(name, norms_left, norm):
    model = backbone(name, norm)
    fused = copy.deepcopy(model)
    fuse_batch_norms(fused)
    image = torch.randn(2, 3, 64, 96)
    expected = model(image)
    for feature, result in fused(image).items():
        error = (result - expected[feature]).abs().max() / expected[feature].abs().max()
        assert error < 1e-5, feature
    assert len(norms(fused)) == norms_left


def test_only_in_evaluation_mode():
    with pytest.raises(AssertionError):
        fuse_batch_norms(backbone("resnet10t").train())
