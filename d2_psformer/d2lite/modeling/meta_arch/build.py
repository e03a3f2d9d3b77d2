"""Whole models by name."""

from typing import Any

import torch
from torch import nn

from ...config import CfgNode
from ...utils.registry import Registry

# Entries are called with (cfg) and return a module.
META_ARCH_REGISTRY: Any = Registry("META_ARCH")


def build_model(cfg: CfgNode) -> nn.Module:
    """Build ``cfg.MODEL.META_ARCHITECTURE`` on ``cfg.MODEL.DEVICE``; loads no weights."""
    model = META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE)(cfg)
    return model.to(torch.device(cfg.MODEL.DEVICE))
