"""Refusing weights that are not finite."""

from collections.abc import Mapping

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
