"""Parts of a model that keep their weights in training."""

import logging
from collections.abc import Sequence

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..modeling.backbone.frozen_norms import FrozenBatchNorm
from ..utils.errors import UserError
from ..utils.wording import counted

logger = logging.getLogger(__name__)


def freeze(model: nn.Module, parts: Sequence[str]) -> None:
    """Freeze parameters by parts of their names; their batch norms keep their statistics too.

    Args:
        parts: as "backbone" or "decoder.layers.0."; logged with the size of what they freeze.

    Raises:
        UserError: no parameter has such a name.
    """
    for part in parts:
        named = {name: p for name, p in model.named_parameters() if part in name}
        if not named:
            modules = ", ".join(name for name, _ in model.named_children())
            raise UserError(
                f"SOLVER.FREEZE has '{part}', which no parameter has in its name: use parts of "
                f"names as {modules}."
            )
        for parameter in named.values():
            parameter.requires_grad_(False)
        size = sum(parameter.numel() for parameter in named.values())
        logger.info(
            "SOLVER.FREEZE '%s': %s, %.1fM numbers.",
            part,
            counted(len(named), "tensor"),
            size / 1e6,
        )
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm) and any(part in f"{name}.weight" for part in parts):
            module.__class__ = FrozenBatchNorm
