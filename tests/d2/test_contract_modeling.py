"""Registries of backbones and architectures, the same on both backends."""

import pytest
import torch
from torch import nn

from d2_psformer.d2.config import get_cfg
from d2_psformer.d2.layers import ShapeSpec
from d2_psformer.d2.modeling import (
    BACKBONE_REGISTRY,
    META_ARCH_REGISTRY,
    Backbone,
    build_backbone,
    build_model,
)


@BACKBONE_REGISTRY.register()
class ContractBackbone(Backbone):
    def __init__(self, cfg, input_shape):
        super().__init__()
        self.conv = nn.Conv2d(input_shape.channels, 6, 3, stride=8, padding=1)
        self._out_features = ["res3"]
        self._out_feature_channels = {"res3": 6}
        self._out_feature_strides = {"res3": 8}

    def forward(self, x):
        return {"res3": self.conv(x)}


@BACKBONE_REGISTRY.register()
def contract_no_backbone(cfg, input_shape):
    return nn.Identity()


@META_ARCH_REGISTRY.register()
class ContractModel(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.backbone = build_backbone(cfg)


@pytest.fixture
def cfg():
    cfg = get_cfg()
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.META_ARCHITECTURE = "ContractModel"
    cfg.MODEL.BACKBONE.NAME = "ContractBackbone"
    return cfg


def test_model_is_built_by_name(cfg):
    model = build_model(cfg)
    assert isinstance(model, ContractModel)
    assert next(model.parameters()).device == torch.device("cpu")


def test_backbone_gets_as_many_channels_as_pixel_means(cfg):
    cfg.MODEL.PIXEL_MEAN = [0.0, 0.0]
    assert build_backbone(cfg).conv.in_channels == 2
    assert build_backbone(cfg, ShapeSpec(channels=5)).conv.in_channels == 5


def test_backbone_defaults(cfg):
    backbone = build_backbone(cfg)
    assert backbone.size_divisibility == 0
    assert backbone.output_shape() == {"res3": ShapeSpec(channels=6, stride=8)}
    assert backbone(torch.zeros(1, 3, 16, 16))["res3"].shape == (1, 6, 2, 2)


def test_what_is_no_backbone_is_refused(cfg):
    cfg.MODEL.BACKBONE.NAME = "contract_no_backbone"
    with pytest.raises(AssertionError):
        build_backbone(cfg)
    with pytest.raises(TypeError):
        Backbone()


def test_unknown_names_are_named(cfg):
    cfg.MODEL.META_ARCHITECTURE = "NoSuchModel"
    with pytest.raises(KeyError, match="NoSuchModel"):
        build_model(cfg)
