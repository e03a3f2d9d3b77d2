"""The model of a config; importing this registers the models and data sets of this project."""

import logging

import torch
from torch import nn

from .. import modeling  # noqa: F401  registers by being imported
from ..config import check_values
from ..d2.config import CfgNode
from ..d2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY
from ..d2.modeling import build_model as build_registered
from ..data import public  # noqa: F401  registers the built-in data sets
from ..utils.errors import UserError, check_known
from .data_sets import model_data_set
from .unread_keys import describe_unread

logger = logging.getLogger(__name__)


def build_model(cfg: CfgNode) -> nn.Module:
    """Build MODEL.META_ARCHITECTURE with random weights on MODEL.DEVICE; compile it if asked to.

    Keys that the config sets in vain are named in the log.

    Raises:
        UserError: a name in the config is unknown, or a value out of its range.
    """
    check_values(cfg)
    node = cfg.MODEL
    model_data_set(cfg)  # names the classes
    check_known("MODEL.META_ARCHITECTURE", node.META_ARCHITECTURE, dict(META_ARCH_REGISTRY))
    try:
        torch.zeros(1, device=node.DEVICE).item()  # there is no number on "meta"
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"MODEL.DEVICE is '{node.DEVICE}': use 'cuda' or 'cpu'.") from error
    try:
        model = build_registered(cfg)
    except KeyError:  # not every architecture has a backbone from the registry
        check_known("MODEL.BACKBONE.NAME", node.BACKBONE.NAME, dict(BACKBONE_REGISTRY))
        raise
    if unread := describe_unread(cfg):
        logger.warning(unread)
    if node.COMPILE:
        model.compile_parts()
    return model


def log_size(model: nn.Module) -> None:
    """Log how many parameters there are, and how many of them are trained."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    trained = sum(size for size, is_trained in sizes if is_trained)
    logger.info(
        "%s has %.1fM parameters, %.1fM of them are trained.",
        type(model).__name__, sum(size for size, _ in sizes) / 1e6, trained / 1e6,
    )  # fmt: skip
