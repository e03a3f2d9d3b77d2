"""Logits and their inverses."""

import math

from torch import Tensor


def inverse_sigmoid(x: Tensor, eps: float = 1e-5) -> Tensor:
    """Logit of x in [0, 1], clamped to stay finite (Deformable DETR's eps)."""
    x = x.clamp(0, 1)
    return (x.clamp(min=eps) / (1 - x).clamp(min=eps)).log()


def prior_bias(probability: float) -> float:
    """Bias with which a sigmoid gives the probability before training (focal loss, section 3.3)."""
    return -math.log((1 - probability) / probability)
