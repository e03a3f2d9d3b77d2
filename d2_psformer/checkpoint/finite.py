"""Refusing weights that are not finite, or other numbers than those of a model."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..utils.errors import UserError


def check_finite(weights: Mapping[str, Tensor], source: str, advice: str) -> None:
    """Refuse a state dict with NaN or Inf.

    Args:
        source: where the weights are or come from, for the message.
        advice: what to do, for the message.

    Raises:
        UserError: names the first such tensor.
    """
    for name, value in weights.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise UserError(f"'{name}' of {source} holds NaN or Inf: {advice}.")


def check_kinds(own: Mapping[str, Tensor], weights: Mapping[str, Any], source: str) -> None:
    """Refuse whole numbers where a model has fractions, as the weights of a quantized one.

    Args:
        own: the state dict of the model.
        weights: tensors or arrays.
        source: where they are from, for the message.

    Raises:
        UserError: names the first such tensor.
    """
    for name in own.keys() & weights.keys():
        theirs = torch.as_tensor(weights[name]).dtype
        if theirs.is_floating_point != own[name].is_floating_point():
            raise UserError(
                f"'{name}' of {source} is of {theirs}, in this model of {own[name].dtype}: is it "
                "quantized? Use a file with the weights themselves."
            )
