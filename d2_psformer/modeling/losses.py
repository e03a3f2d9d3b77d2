"""Loss terms as plain functions; sums over what they are given, safe for no targets at all."""

import torch
import torch.nn.functional as F
from torch import Tensor


def focal_terms(logits: Tensor, alpha: float, gamma: float) -> tuple[Tensor, Tensor]:
    """Sigmoid focal loss (Lin et al. 2017) of every entry, were it a positive or a negative.

    Returns:
        positive, negative: each of the shape of ``logits``.
    """
    p = logits.sigmoid()
    positive = alpha * (1 - p) ** gamma * F.softplus(-logits)
    negative = (1 - alpha) * p**gamma * F.softplus(logits)
    return positive, negative


def sigmoid_focal_loss(logits: Tensor, targets: Tensor, alpha: float, gamma: float) -> Tensor:
    """Sum of the focal loss over (...) logits with boolean targets of the same shape."""
    positive, negative = focal_terms(logits, alpha, gamma)
    return torch.where(targets, positive, negative).sum()


def dice_loss(masks: Tensor, targets: Tensor, eps: float = 1e-6) -> Tensor:
    """1 - 2 sum(p t) / (sum(p^2) + sum(t^2) + 2 eps) of each mask.

    Args:
        masks: (N, H, W) >= 0, not necessarily below 1.
        targets: (N, H, W) in [0, 1].

    Returns:
        (N,).
    """
    p, t = masks.flatten(1), targets.flatten(1)
    return 1 - 2 * (p * t).sum(-1) / (p.square().sum(-1) + t.square().sum(-1) + 2 * eps)


class FineDiceLoss:
    """:func:`dice_loss` of masks as they are when made as large as their targets, bilinearly.

    Interpolation is linear and works on rows and columns apart, p = A m B^T. So sum(p t) is
    sum(m * A^T t B) and sum(p^2) is sum(m * A^T A m B^T B): no mask is ever made large, and what
    belongs to the targets alone is computed once for all masks that are compared with them.

    Args:
        targets: (N, H, W) in [0, 1], float.
        size: (h, w) of the masks.
    """

    def __init__(self, targets: Tensor, size: tuple[int, int], eps: float = 1e-6):
        rows, columns = (
            _interpolation(small, large, targets)
            for small, large in zip(size, targets.shape[-2:], strict=True)
        )
        self._targets = rows.T @ targets @ columns
        self._area = targets.square().sum((1, 2)) + 2 * eps
        self._rows, self._columns = rows.T @ rows, columns.T @ columns

    def __call__(self, masks: Tensor) -> Tensor:
        """(N, h, w) >= 0 -> (N,)."""
        common = (masks * self._targets).sum((1, 2))
        area = (masks * (self._rows @ masks @ self._columns)).sum((1, 2))
        return 1 - 2 * common / (area + self._area)


def _interpolation(small: int, large: int, like: Tensor) -> Tensor:
    """(large, small): what makes a line of small numbers large."""
    unit = torch.eye(small, dtype=like.dtype, device=like.device)
    return F.interpolate(unit[None], large, mode="linear")[0].T


def pairwise_dice_cost(masks: Tensor, targets: Tensor, eps: float = 1e-3) -> Tensor:
    """Dice of every mask (N, H, W) with every target (M, H, W): (N, M)."""
    p, t = masks.flatten(1), targets.flatten(1)
    norm = p.square().sum(-1)[:, None] + t.square().sum(-1)[None, :] + 2 * eps
    return 1 - 2 * (p @ t.T) / norm
