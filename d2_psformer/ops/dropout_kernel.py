"""Dropout by the compiled CPU library (csrc/cpu_dropout.h)."""

import ctypes

import torch
from torch import Tensor

from . import backends
from .cpu_kernel import TYPES, call


class _Problem(ctypes.Structure):
    """Mirrors PsformerDropout in csrc/cpu_problem.h."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("x", "out")),
        *((name, ctypes.c_int64) for name in ("count", "type", "threads", "threshold")),
        ("seed", ctypes.c_uint64),
        ("scale", ctypes.c_double),
    )


def serves(x: Tensor) -> bool:
    """Whether :func:`dropped` takes this tensor; it may have to be made contiguous."""
    return x.device.type == "cpu" and x.dtype in TYPES and backends.unavailable("cpu") is None


def dropped(
    x: Tensor, threshold: int, scale: float, seed: int, out: Tensor | None = None
) -> Tensor:
    """Zero numbers with probability threshold / 65536 and multiply the others by ``scale``.

    Which ones follows from the seed and from the place of a number alone, not from threads, type
    and instruction set.

    Args:
        x: contiguous, of any shape.
        seed: 64 bits.
        out: where to, contiguous; may be ``x``.

    Returns:
        ``out``, or a new tensor.
    """
    out = torch.empty_like(x) if out is None else out
    problem = _Problem(
        *(x.data_ptr(), out.data_ptr(), x.numel(), TYPES[x.dtype]),
        *(torch.get_num_threads(), threshold, seed, scale),
    )
    call("psformer_cpu_dropout", problem)
    return out
