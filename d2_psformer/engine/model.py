"""The model of a config; importing this registers the models and data sets of this project."""

import torch
from torch import nn

from .. import data, modeling  # noqa: F401  both register by being imported
from ..d2.config import CfgNode
from ..d2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY
from ..d2.modeling import build_model as build_registered
from ..utils.errors import UserError, check_known
from .data_sets import model_data_set


def build_model(cfg: CfgNode) -> nn.Module:
    """Build MODEL.META_ARCHITECTURE with random weights on MODEL.DEVICE; compile it if asked to.

    Raises:
        UserError: a name in the config is unknown.
    """
    node = cfg.MODEL
    model_data_set(cfg)  # names the classes
    check_known("MODEL.META_ARCHITECTURE", node.META_ARCHITECTURE, dict(META_ARCH_REGISTRY))
    try:
        torch.device(node.DEVICE)
    except RuntimeError as error:
        raise UserError(f"MODEL.DEVICE is '{node.DEVICE}': use 'cuda' or 'cpu'.") from error
    try:
        model = build_registered(cfg)
    except KeyError:  # not every architecture has a backbone from the registry
        check_known("MODEL.BACKBONE.NAME", node.BACKBONE.NAME, dict(BACKBONE_REGISTRY))
        raise
    if node.COMPILE:
        model.compile_parts()
    return model
