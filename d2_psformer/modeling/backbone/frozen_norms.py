"""Batch norms whose statistics and parameters stay as they are."""

import torch
from torch import Tensor, nn


class FrozenBatchNorm(nn.BatchNorm2d):
    """One multiplication and addition a value, with the parameters of ``nn.BatchNorm2d``.

    That one keeps its input for the gradient of parameters that are not learned, which is half of
    the memory that a ResNet takes in training.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W) of the same type."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        scale, shift = (y[:, None, None].to(x.dtype) for y in (scale, shift))
        return torch.addcmul(shift, x, scale)


def freeze_batch_norms(model: nn.Module) -> list[FrozenBatchNorm]:
    """Turn every ``nn.BatchNorm2d`` into a :class:`FrozenBatchNorm`, in place; returns them."""
    norms = [module for module in model.modules() if type(module) is nn.BatchNorm2d]
    for module in norms:
        module.__class__ = FrozenBatchNorm
    return norms
