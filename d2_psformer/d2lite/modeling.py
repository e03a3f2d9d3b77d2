"""Registries of architectures and backbones; the models themselves live outside."""

from abc import ABCMeta, abstractmethod
from typing import Any

import torch
from fvcore.common.registry import Registry
from torch import nn

from .config import CfgNode
from .layers import ShapeSpec

# Entries are called with (cfg) and return a module.
META_ARCH_REGISTRY: Any = Registry("META_ARCH")
# Entries are called with (cfg, input_shape) and return a Backbone.
BACKBONE_REGISTRY: Any = Registry("BACKBONE")


class Backbone(nn.Module, metaclass=ABCMeta):
    """Images to a dict of feature maps, such as ``{"res3": (N,C,H/8,W/8), ...}``.

    A subclass either overrides :meth:`output_shape` or sets ``_out_features``,
    ``_out_feature_channels`` and ``_out_feature_strides``.
    """

    @abstractmethod
    def forward(self, *args: Any) -> Any:
        """A dict from feature name to tensor."""

    @property
    def size_divisibility(self) -> int:
        """Height and width of the input must be multiples of this; 0 for any size."""
        return 0

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride of every feature map."""
        channels, strides = self._out_feature_channels, self._out_feature_strides
        return {
            name: ShapeSpec(channels=channels[name], stride=strides[name])
            for name in self._out_features
        }


def build_backbone(cfg: CfgNode, input_shape: ShapeSpec | None = None) -> Backbone:
    """Build ``cfg.MODEL.BACKBONE.NAME``; without a shape, for the channels of PIXEL_MEAN."""
    if input_shape is None:
        input_shape = ShapeSpec(channels=len(cfg.MODEL.PIXEL_MEAN))
    name = cfg.MODEL.BACKBONE.NAME
    backbone = BACKBONE_REGISTRY.get(name)(cfg, input_shape)
    assert isinstance(backbone, Backbone), f"'{name}' in the BACKBONE registry makes no Backbone."
    return backbone


def build_model(cfg: CfgNode) -> nn.Module:
    """Build ``cfg.MODEL.META_ARCHITECTURE`` on ``cfg.MODEL.DEVICE``; loads no weights."""
    model = META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE)(cfg)
    return model.to(torch.device(cfg.MODEL.DEVICE))
