"""The optimizer, its parameter groups and gradient clipping, from the config."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from ..d2.config import CfgNode
from ..utils.errors import UserError, check_known
from .adam import KerasAdam
from .layer_decay import layer_factors

GradientClipper = Callable[[list[nn.Parameter]], None]

# The first stands for batch and instance norms of every dimension, synchronised ones too.
_NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
# Parameters of transformer backbones that are embeddings without being an nn.Embedding.
_EMBEDDINGS = ("relative_position_bias_table", "absolute_pos_embed", "pos_embed")


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """SOLVER.OPTIMIZER over all trainable parameters, see :func:`parameter_groups`.

    Raises:
        UserError: unknown optimizer, or nothing to train.
    """
    solver = cfg.SOLVER
    groups = parameter_groups(model, solver)
    if not groups:
        raise UserError("The model has no trainable parameter: check what the config freezes.")
    kinds = {
        "ADAMW": torch.optim.AdamW,
        "ADAM": KerasAdam,
        "SGD": torch.optim.SGD,
    }
    check_known("SOLVER.OPTIMIZER", solver.OPTIMIZER, kinds)
    options = {}
    if solver.OPTIMIZER == "SGD":
        if solver.NESTEROV and not solver.MOMENTUM:
            raise UserError("SOLVER.NESTEROV is True and SOLVER.MOMENTUM 0: set it above 0.")
        options = {"momentum": solver.MOMENTUM, "nesterov": solver.NESTEROV}
    # fused: one kernel a tensor, several times faster than the plain loop on CPU and CUDA alike
    return kinds[solver.OPTIMIZER](groups, lr=solver.BASE_LR, fused=True, **options)


def parameter_groups(model: nn.Module, solver: CfgNode) -> list[dict]:
    """One group for every pair of learning rate and weight decay in use.

    With the schedule TwoStageWarmupPolyLR no group has parameters of the backbone and others.

    A shared parameter comes once, a frozen one never. The rate follows from the parameter's name
    (SOLVER.LR_MULTIPLIERS, times BIAS_LR_FACTOR and the factor of LAYER_DECAY), the weight decay
    from the type of the module that owns it: norms have WEIGHT_DECAY_NORM, embeddings
    WEIGHT_DECAY_EMBED, all others WEIGHT_DECAY. Biases, those of norms too, have WEIGHT_DECAY_BIAS
    if that is set.

    Returns:
        Dicts of "params", their "param_names" (by which a resumed run finds their state), "lr" and
        "weight_decay".
    """
    groups: dict[tuple[float, float, bool], dict[str, nn.Parameter]] = {}
    owners = dict(model.named_modules())
    factors = layer_factors([name for name, _ in model.named_parameters()], solver)
    two_stages = solver.LR_SCHEDULER_NAME == "TwoStageWarmupPolyLR"
    for name, parameter in model.named_parameters():  # leaves out duplicates itself
        if parameter.requires_grad:
            multipliers = solver.LR_MULTIPLIERS
            factor = next((factor for part, factor in multipliers if part in name), 1.0)
            factor *= factors[name]
            owner, _, last_name = name.rpartition(".")
            factor *= solver.BIAS_LR_FACTOR if last_name == "bias" else 1.0
            decay = _weight_decay(owners[owner], last_name, solver)
            waits = two_stages and name.startswith("backbone.")
            groups.setdefault((factor, decay, waits), {})[name] = parameter
    return [
        {
            "params": [*group.values()],
            "param_names": [*group],
            "lr": solver.BASE_LR * factor,
            "weight_decay": decay,
        }
        for (factor, decay, _), group in groups.items()
    ]


def _weight_decay(owner: nn.Module, name: str, solver: CfgNode) -> float:
    decay = None
    if name == "bias" and solver.WEIGHT_DECAY_BIAS is not None:
        decay = solver.WEIGHT_DECAY_BIAS
    elif isinstance(owner, _NORMS):
        decay = solver.WEIGHT_DECAY_NORM
    elif isinstance(owner, nn.Embedding) or name in _EMBEDDINGS:
        decay = solver.WEIGHT_DECAY_EMBED
    return solver.WEIGHT_DECAY if decay is None else decay


def build_gradient_clipper(cfg: CfgNode) -> GradientClipper | None:
    """The clipping of SOLVER.CLIP_GRADIENTS as a function of the parameters; None when disabled.

    "full_model" limits the norm over all gradients together, "norm" that of every parameter by
    itself and "value" every number, as in Detectron2.

    Raises:
        UserError: unknown CLIP_TYPE.
    """
    clip = cfg.SOLVER.CLIP_GRADIENTS
    if not clip.ENABLED:
        return None
    limit, norm_type = clip.CLIP_VALUE, clip.NORM_TYPE

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
