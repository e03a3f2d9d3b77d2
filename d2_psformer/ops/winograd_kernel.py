"""Convolution with 3x3 kernels by the compiled CPU library (csrc/cpu_winograd*.h)."""

import ctypes

import torch
from torch import Tensor

from . import backends
from .cpu_kernel import call

_CHANNELS = 32  # counts of channels are multiples of it
# Fewer cells are not worth the transformation of the kernels.
_CELLS = 256


class _Problem(ctypes.Structure):
    """Mirrors PsformerConvolution in csrc/cpu_problem.h."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("x", "weight", "bias", "out")),
        *(
            (name, ctypes.c_int64)
            for name in (
                *("batch", "height", "width", "in_", "outs"),
                *("weight_out", "weight_in", "weight_row", "weight_column", "threads"),
            )
        ),
    )


def serves(x: Tensor, weight: Tensor) -> bool:
    """Whether the kernel takes these, and is faster than a direct convolution.

    Args:
        x: (B, in, H, W).
        weight: (out, in, 3, 3).
    """
    return (
        x.dim() == weight.dim() == 4
        and x.device.type == weight.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and weight.shape[2:] == (3, 3)
        and x.shape[1] == weight.shape[1]
        and weight.shape[0] % _CHANNELS == weight.shape[1] % _CHANNELS == 0
        and x.numel() >= _CELLS * x.shape[1]
        and x.is_contiguous(memory_format=torch.channels_last)
        and backends.unavailable("cpu") is None
    )


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.conv2d(x, weight, bias, padding=1)`` by Winograd's F(4x4, 3x3), without a gradient.

    A quarter of the multiplications; rounding errors are about four times as large.

    Args:
        x: (B, in, H, W), channels-last.
        weight: (out, in, 3, 3), of any strides.
        bias: (out,).

    Returns:
        (B, out, H, W), channels-last.
    """
    out = _map(x, len(weight))
    bias = None if bias is None else bias.contiguous()
    _run("convolution", x, weight.data_ptr(), weight.stride(), bias, out)
    return out


def input_gradient(gradient: Tensor, weight: Tensor) -> Tensor:
    """Gradient (B, in, H, W) of ``x`` from that of the result (B, out, H, W).

    It is a convolution with the kernels turned by 180 degrees, from the last tap backwards.
    """
    of_x = _map(gradient, weight.shape[1])
    of_out, of_in, row, column = weight.stride()
    last_tap = weight.data_ptr() + weight.element_size() * 2 * (row + column)
    _run("convolution", gradient, last_tap, (of_in, of_out, -row, -column), None, of_x)
    return of_x


def weight_gradient(gradient: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """Gradient of the weight, with its strides, from that of the result (B, out, H, W)."""
    of_weight = torch.empty_like(weight)
    _run("kernel_gradient", x, of_weight.data_ptr(), of_weight.stride(), None, gradient)
    return of_weight


def _map(like: Tensor, channels: int) -> Tensor:
    shape = (len(like), channels, *like.shape[2:])
    return torch.empty(shape, dtype=like.dtype, memory_format=torch.channels_last)


def _run(
    name: str, x: Tensor, weight: int, strides: tuple[int, ...], bias: Tensor | None, out: Tensor
) -> None:
    problem = _Problem(
        *(x.data_ptr(), weight, None if bias is None else bias.data_ptr(), out.data_ptr()),
        *(len(x), *x.shape[2:], x.shape[1], out.shape[1]),
        *(*strides, torch.get_num_threads()),
    )
    call(f"psformer_cpu_{name}", problem)
