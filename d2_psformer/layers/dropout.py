"""Dropout that does not hold up training on a CPU."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class Dropout(nn.Dropout):
    """``nn.Dropout`` by :func:`dropout`."""

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p) if self.training else x


def dropout(x: Tensor, p: float) -> Tensor:
    """Zero each number with probability p, a multiple of 1/65536, and divide the others by 1 - p.

    PyTorch draws a random float for every number, on a CPU with one thread: a tenth of a training
    step. Here 16 random bits do, and one byte of the mask is kept instead of four.
    """
    if p == 0:
        return x
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return F.dropout(x, p)
    return _Dropout.apply(x, p)


def drawn(shape: torch.Size, p: float) -> Tensor:
    """Random mask of a shape, true with probability p; on the CPU."""
    count = shape.numel()
    words = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    bits = words.view(torch.int16)[:count].view(shape)
    return bits < round(p * 2**16) - 2**15 if p < 1 else torch.ones(shape, dtype=torch.bool)


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, p: float) -> Tensor:
        dropped = drawn(x.shape, p)
        ctx.save_for_backward(dropped)
        ctx.scale = kept_scale(p)
        return x.masked_fill(dropped, 0).mul_(ctx.scale)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        (dropped,) = ctx.saved_tensors
        return gradient.masked_fill(dropped, 0).mul_(ctx.scale), None


def kept_scale(p: float) -> float:
    """What numbers that stay are multiplied by; with p = 1 none stays."""
    return 1 / (1 - p) if p < 1 else 0.0
