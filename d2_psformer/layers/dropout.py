"""Dropout that does not hold up training on a CPU."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..ops import dropout_kernel


class Dropout(nn.Dropout):
    """``nn.Dropout`` by :func:`dropout`."""

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p) if self.training else x


def dropout(x: Tensor, p: float) -> Tensor:
    """Zero each number with probability p, a multiple of 1/65536, and divide the others by 1 - p.

    PyTorch draws a random float for every number, on a CPU with one thread: a tenth of a training
    step. Here 16 random bits do. No mask is kept: the gradient draws it again from its seed.
    """
    if p == 0:
        return x
    if x.device.type != "cpu" or torch.compiler.is_compiling() or torch.jit.is_tracing():
        return F.dropout(x, p)
    return _Dropout.apply(x, p, drawn_seed())


def drawn_seed() -> int:
    """63 bits of PyTorch's generator of the CPU."""
    return torch.empty((), dtype=torch.int64).random_().item()


def dropped(x: Tensor, p: float, seed: int, in_place: bool = False) -> Tensor:
    """``x`` after dropout with the mask that belongs to a seed; on the CPU, without a gradient.

    Args:
        in_place: write over ``x``, which is contiguous then.
    """
    x = x.contiguous()
    scale = kept_scale(p)
    if dropout_kernel.serves(x):
        threshold = round(p * 2**16)
        return dropout_kernel.dropped(x, threshold, scale, seed, x if in_place else None)
    mask = _mask(x.shape, p, seed)
    return (x.masked_fill_(mask, 0) if in_place else x.masked_fill(mask, 0)).mul_(scale)


def kept_scale(p: float) -> float:
    """What numbers that stay are multiplied by; with p = 1 none stays."""
    return 1 / (1 - p) if p < 1 else 0.0


def _mask(shape: torch.Size, p: float, seed: int) -> Tensor:
    """What is dropped where no kernel was compiled: true with probability p."""
    generator, count = torch.Generator().manual_seed(seed), shape.numel()
    words = torch.empty((count + 3) // 4, dtype=torch.int64)
    bits = words.random_(-(2**63), None, generator=generator).view(torch.int16)[:count].view(shape)
    return bits < round(p * 2**16) - 2**15 if p < 1 else torch.ones(shape, dtype=torch.bool)


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, p: float, seed: int) -> Tensor:
        ctx.p, ctx.seed = p, seed
        return dropped(x, p, seed)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        return dropped(gradient, ctx.p, ctx.seed), None, None
