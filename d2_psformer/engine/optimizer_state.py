"""Restoring the state of an optimizer, parameter by parameter."""

import logging
import math

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

# optimizer: an option that only its groups have, and the state of one of its parameters
_KINDS = {
    "AdamW": ("betas", {"step", "exp_avg", "exp_avg_sq"}),
    "SGD": ("momentum", {"momentum_buffer"}),
}


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: dict | None, source: str) -> None:
    """Load the ``state_dict`` of an earlier run's optimizer, matched by parameter names.

    Each group must hold the parameters that it held there, in any order. States without names
    (those of version 0.1.0) are matched by position. Nothing is loaded unless everything fits:
    fused optimizers check no shape, and a wrong one would corrupt memory. Parameters without state
    there, as those that had no gradient yet, start without, with a warning.

    Args:
        optimizer: AdamW or SGD; its groups have "param_names" (:func:`.parameter_groups`).
        source: whose state it is, for the message.

    Raises:
        ValueError: one sentence: the state is of another optimizer or of other groups, or a tensor
            is of another shape or not finite.
    """

    def refuse(why: str) -> ValueError:
        return ValueError(
            f"The optimizer state of {source} does not fit this run: {why}. Resume with the SOLVER "
            "settings that it was saved with, or start a new run from its weights (MODEL.WEIGHTS, "
            "without --resume)."
        )

    kind = type(optimizer).__name__
    option, keys = _KINDS[kind]
    if not isinstance(state, dict) or not {"state", "param_groups"} <= state.keys():
        raise refuse("it is missing")
    own, saved = optimizer.state_dict()["param_groups"], state["param_groups"]
    if any(option not in group for group in saved):
        raise refuse(f"it is not of {kind}")
    if len(own) != len(saved):
        raise refuse(f"it has {len(saved)} parameter groups in place of {len(own)}")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    entries, stateless = {}, []
    for mine, theirs in zip(own, saved, strict=True):
        if not math.isfinite(theirs.get("lr", math.nan)):
            raise refuse("a group has no finite learning rate")
        names = theirs.get("param_names", mine["param_names"])
        if other := sorted(set(names) ^ set(mine["param_names"])):
            raise refuse(f"its parameter groups differ, for example in '{other[0]}'")
        if len(names) != len(theirs["params"]):
            raise refuse(f"a group has {len(theirs['params'])} parameters in place of {len(names)}")
        number_of = dict(zip(names, theirs["params"], strict=True))
        for name, number in zip(mine["param_names"], mine["params"], strict=True):
            entry = state["state"].get(number_of[name])
            if not entry:
                stateless.append(name)
            elif fault := _fault(entry, keys, parameters[number]):
                raise refuse(f"of parameter '{name}', {fault}")
            else:
                entries[number] = entry
    if stateless and entries:
        logger.warning(
            "The optimizer of %s has no state of %d parameters (first '%s'): they start without.",
            source, len(stateless), stateless[0],
        )  # fmt: skip
    groups = [
        {**theirs, "params": mine["params"], "param_names": mine["param_names"]}
        for mine, theirs in zip(own, saved, strict=True)
    ]
    optimizer.load_state_dict({"state": entries, "param_groups": groups})


def _fault(entry: dict, keys: set[str], parameter: Tensor) -> str:
    """What is wrong with the state of one parameter; "" if nothing is."""
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
