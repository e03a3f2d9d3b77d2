"""Backbones by name."""

from typing import Any

from ...config import CfgNode
from ...layers import ShapeSpec
from ...utils.registry import Registry
from .backbone import Backbone

# Entries are called with (cfg, input_shape) and return a Backbone.
BACKBONE_REGISTRY: Any = Registry("BACKBONE")


def build_backbone(cfg: CfgNode, input_shape: ShapeSpec | None = None) -> Backbone:
    """Build ``cfg.MODEL.BACKBONE.NAME``; without a shape, for the channels of PIXEL_MEAN."""
    if input_shape is None:
        input_shape = ShapeSpec(channels=len(cfg.MODEL.PIXEL_MEAN))
    name = cfg.MODEL.BACKBONE.NAME
    backbone = BACKBONE_REGISTRY.get(name)(cfg, input_shape)
    assert isinstance(backbone, Backbone), f"'{name}' in the BACKBONE registry makes no Backbone."
    return backbone
