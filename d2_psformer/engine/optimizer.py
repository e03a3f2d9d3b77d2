"""The optimizer, its parameter groups and gradient clipping, from the config."""

from collections.abc import Callable, Iterable

import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from ..d2.config import CfgNode
from ..utils.errors import UserError

GradientClipper = Callable[[list[nn.Parameter]], None]


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """SOLVER.OPTIMIZER over all trainable parameters, SOLVER.WEIGHT_DECAY on every one of them.

    Raises:
        UserError: unknown optimizer, or nothing to train.
    """
    solver = cfg.SOLVER
    groups = parameter_groups(model, solver.BASE_LR, solver.LR_MULTIPLIERS)
    if not groups:
        raise UserError("The model has no trainable parameter: check what the config freezes.")
    # fused: one kernel a tensor, several times faster than the plain loop on CPU and CUDA alike
    options = {"lr": solver.BASE_LR, "weight_decay": solver.WEIGHT_DECAY, "fused": True}
    if solver.OPTIMIZER == "ADAMW":
        return torch.optim.AdamW(groups, **options)
    if solver.OPTIMIZER == "SGD":
        return torch.optim.SGD(
            groups, momentum=solver.MOMENTUM, nesterov=solver.NESTEROV, **options
        )
    raise UserError(f"SOLVER.OPTIMIZER is '{solver.OPTIMIZER}': it must be 'ADAMW' or 'SGD'.")


def parameter_groups(
    model: nn.Module, base_lr: float, multipliers: Iterable[tuple[str, float]]
) -> list[dict]:
    """One group for every learning rate in use; a shared parameter comes once, a frozen one never.

    Args:
        multipliers: (part of a name, factor on ``base_lr``); the first that fits is used.

    Returns:
        Dicts of "params", their "param_names" (by which a resumed run finds their state) and "lr".
    """
    groups: dict[float, dict[str, nn.Parameter]] = {}
    for name, parameter in model.named_parameters():  # leaves out duplicates itself
        if parameter.requires_grad:
            factor = next((factor for part, factor in multipliers if part in name), 1.0)
            groups.setdefault(factor, {})[name] = parameter
    return [
        {"params": [*group.values()], "param_names": [*group], "lr": base_lr * factor}
        for factor, group in groups.items()
    ]


def build_gradient_clipper(cfg: CfgNode) -> GradientClipper | None:
    """The clipping of SOLVER.CLIP_GRADIENTS as a function of the parameters; None when disabled.

    "full_model" limits the norm over all gradients together, "norm" that of every parameter by
    itself and "value" every number, as in Detectron2.

    Raises:
        UserError: unknown CLIP_TYPE.
    """
    clip = cfg.SOLVER.CLIP_GRADIENTS
    limit, norm_type = clip.CLIP_VALUE, clip.NORM_TYPE
    if not clip.ENABLED:
        return None

    def full_model(parameters: list[nn.Parameter]) -> None:
        clip_grad_norm_(parameters, limit, norm_type)

    def norm(parameters: list[nn.Parameter]) -> None:
        for parameter in parameters:
            clip_grad_norm_(parameter, limit, norm_type)

    def value(parameters: list[nn.Parameter]) -> None:
        clip_grad_value_(parameters, limit)

    clippers = {"full_model": full_model, "norm": norm, "value": value}
    if clip.CLIP_TYPE not in clippers:
        raise UserError(
            f"SOLVER.CLIP_GRADIENTS.CLIP_TYPE is '{clip.CLIP_TYPE}': it must be "
            "'full_model', 'norm' or 'value'."
        )
    return clippers[clip.CLIP_TYPE]
