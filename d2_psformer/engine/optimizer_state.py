"""Restoring the state of an optimizer, parameter by parameter."""

import logging
import math

import torch
from torch import Tensor

from ..utils.errors import UserError

logger = logging.getLogger(__name__)

# Optimizer: an option that only its groups have, and the state of one of its parameters
_KINDS = {
    "AdamW": ("betas", {"step", "exp_avg", "exp_avg_sq"}),
    "KerasAdam": ("step", {"step", "exp_avg", "exp_avg_sq"}),
    "SGD": ("momentum", {"momentum_buffer"}),
}

# Option of a group -> the settings that it follows from
_SETTINGS = {
    "initial_lr": "SOLVER.BASE_LR and LR_MULTIPLIERS",
    "weight_decay": "SOLVER.WEIGHT_DECAY, WEIGHT_DECAY_NORM and WEIGHT_DECAY_EMBED",
    "momentum": "SOLVER.MOMENTUM and NESTEROV",
    "nesterov": "SOLVER.NESTEROV and MOMENTUM",
}


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: dict | None, source: str) -> None:
    """Load the ``state_dict`` of an earlier run's optimizer, matched by parameter names.

    Each group must hold the parameters that it held there, in any order. States without names
    (those of version 0.1.0) are matched by position. Nothing is loaded unless everything fits:
    fused optimizers check no shape, and a wrong one would corrupt memory. Parameters without state
    there, as those that had no gradient yet, start without, with a warning. Learning rates and
    weight decays are the saved ones; others here are named in a warning.

    Args:
        optimizer: of :func:`.build_optimizer`; its groups have "param_names".
        source: the file of the state, for the message.

    Raises:
        UserError: the state is of another optimizer or of other groups, or a tensor
            is of another shape or not finite.
    """
    try:
        entries, groups = _matched(optimizer, state)
    except _MisfitError as misfit:
        raise UserError(
            f"The optimizer state of {source} does not fit this run: {misfit}. Resume with the "
            "SOLVER settings that it was saved with, or start a new run from its weights "
            "(MODEL.WEIGHTS, without --resume)."
        ) from None
    _warn_of_other_settings(optimizer, groups, source)
    names = [name for group in groups for name in group["param_names"]]
    stateless = [name for number, name in enumerate(names) if number not in entries]
    if stateless and entries:
        logger.warning(
            "The optimizer of %s has no state of %d parameters (first '%s'): they start without.",
            source, len(stateless), stateless[0],
        )  # fmt: skip
    optimizer.load_state_dict({"state": entries, "param_groups": groups})


def _warn_of_other_settings(
    optimizer: torch.optim.Optimizer, groups: list[dict], source: str
) -> None:
    """Name the settings of this run that differ from the saved ones, which count."""
    for option, keys in _SETTINGS.items():
        for mine, theirs in zip(optimizer.param_groups, groups, strict=True):
            here, there = mine.get(option), theirs.get(option)
            if None not in (here, there) and here != there:
                logger.warning(
                    "%s are those of %s: '%s' is %g, not %g as given here (for '%s' and others). "
                    "To use yours, start a new run from its weights (MODEL.WEIGHTS, no --resume).",
                    keys, source, option, there, here, mine["param_names"][0],
                )  # fmt: skip
                break


class _MisfitError(Exception):
    """Why a state does not fit."""


def _matched(optimizer: torch.optim.Optimizer, state: dict | None) -> tuple[dict, list[dict]]:
    """Return the states by number of a parameter in this optimizer, and the saved groups."""
    kind = type(optimizer).__name__
    option, keys = _KINDS[kind]
    if not isinstance(state, dict) or not {"state", "param_groups"} <= state.keys():
        raise _MisfitError("it is missing")
    own, saved = optimizer.state_dict()["param_groups"], state["param_groups"]
    if any(option not in group for group in saved):
        raise _MisfitError(f"it is not of {kind}")
    if len(own) != len(saved):
        raise _MisfitError(f"it has {len(saved)} parameter groups in place of {len(own)}")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    entries, groups = {}, []
    for mine, theirs in zip(own, saved, strict=True):
        number_of = _saved_numbers(mine, theirs)
        for name, number in zip(mine["param_names"], mine["params"], strict=True):
            entry = state["state"].get(number_of[name])
            if not entry:
                continue
            if fault := _fault(entry, keys, parameters[number]):
                raise _MisfitError(f"of parameter '{name}', {fault}")
            entries[number] = entry
        groups.append({**theirs, "params": mine["params"], "param_names": mine["param_names"]})
    return entries, groups


def _saved_numbers(mine: dict, theirs: dict) -> dict[str, int]:
    """Map the name of each parameter of one group to its number in the saved state."""
    names, numbers = theirs.get("param_names", mine["param_names"]), theirs["params"]
    if not math.isfinite(theirs.get("lr", math.nan)):
        raise _MisfitError("a group has no finite learning rate")
    if other := sorted(set(names) ^ set(mine["param_names"])):
        raise _MisfitError(f"its parameter groups differ, for example in '{other[0]}'")
    if len(names) != len(numbers):
        raise _MisfitError(f"a group has {len(numbers)} parameters in place of {len(names)}")
    return dict(zip(names, numbers, strict=True))


def _fault(entry: dict, keys: set[str], parameter: Tensor) -> str:
    """Return what is wrong with the state of one parameter; "" if nothing is."""
    if entry.keys() != keys:
        return f"it has {sorted(entry)} in place of {sorted(keys)}"
    for key, value in entry.items():
        shape = () if key == "step" else tuple(parameter.shape)
        if not isinstance(value, Tensor) or not value.is_floating_point():
            return f"'{key}' is no tensor of floating-point numbers"
        if tuple(value.shape) != shape:
            return f"'{key}' is {tuple(value.shape)} in place of {shape}"
        if not value.isfinite().all():
            return f"'{key}' holds NaN or Inf"
    return ""
