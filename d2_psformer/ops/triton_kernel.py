"""The Triton kernels on tensors: for GPUs without the compiled CUDA library.

``TRITON_INTERPRET=1``, set before the first import of triton, runs them on tensors of the CPU,
slowly: for tests.
"""

import contextlib
import functools
import importlib.util
import os
from collections.abc import Sequence

import torch
from torch import Tensor

MAX_LEVELS = MAX_POINTS = 16
MAX_CHANNELS = 1024
TILE = 1024  # numbers that a program holds in one tensor: queries times channels
Shapes = Sequence[tuple[int, int]]


@functools.cache
def unavailable() -> str | None:
    """Why the kernels cannot be used, with the mend; None if they can."""
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed (`pip install triton`)."
    if not _interpreted() and not torch.cuda.is_available():
        return "torch finds no GPU (TRITON_INTERPRET=1 runs Triton's interpreter, for tests)."
    return None


def supports(
    value: Tensor, shapes: Shapes, sampling: Tensor, attention: Tensor, reference: Tensor | None
) -> str | None:
    """Why these tensors cannot be served; None if they can."""
    _, queries, heads, levels, points, _ = sampling.shape
    if value.device.type != "cuda" and not _interpreted():
        return f"it serves tensors on cuda, these are on {value.device.type}."
    if torch.are_deterministic_algorithms_enabled():
        return "its backward is not deterministic, which torch was told to be."
    if value.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        return f"it has no kernel for {value.dtype}."
    if levels > MAX_LEVELS or points > MAX_POINTS or value.shape[3] > MAX_CHANNELS:
        return (
            f"it serves up to {MAX_LEVELS} levels, {MAX_POINTS} points and {MAX_CHANNELS} "
            f"channels, these are {levels}, {points} and {value.shape[3]}."
        )
    if value.shape[0] > 65535 or max(value.shape[1], queries * heads) >= 2**31:
        return "it serves batches up to 65535, positions and queries times heads up to 2^31 - 1."
    return None


def forward(
    value: Tensor, shapes: Shapes, sampling: Tensor, attention: Tensor, reference: Tensor | None
) -> Tensor:
    """Arguments and result as those of :func:`reference.forward`."""
    from .triton_code import forward_kernel

    value, sampling, attention, reference = _inputs(value, sampling, attention, reference)
    out = value.new_empty(value.shape[0], sampling.shape[1], value.shape[2] * value.shape[3])
    if not out.numel():
        return out
    sizes, grid = _sizes_and_grid(value, sampling, reference)
    with _on_device(value):
        forward_kernel[grid](
            value,
            _levels(tuple(map(tuple, shapes)), value.device),
            sampling,
            attention,
            value if reference is None else reference,
            out,
            *_strides(value, sampling, attention, reference),
            sampling.shape[1],
            value.shape[2],
            **sizes,
        )
    return out


def backward(
    grad_out: Tensor,
    value: Tensor,
    shapes: Shapes,
    sampling: Tensor,
    attention: Tensor,
    reference: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of value, sampling and attention.

    The gradient of value is summed in float32, in an order that differs from run to run.
    """
    from .triton_code import backward_kernel

    value, sampling, attention, reference = _inputs(value, sampling, attention, reference)
    sums = value.new_zeros(value.shape, dtype=torch.float32)
    grad_sampling = sampling.new_empty(sampling.shape)
    grad_attention = attention.new_empty(attention.shape)
    if grad_out.numel():
        sizes, grid = _sizes_and_grid(value, sampling, reference)
        with _on_device(value):
            backward_kernel[grid](
                grad_out.contiguous(),
                value,
                _levels(tuple(map(tuple, shapes)), value.device),
                sampling,
                attention,
                value if reference is None else reference,
                sums,
                grad_sampling,
                grad_attention,
                *_strides(value, sampling, attention, reference),
                value.shape[1],
                sampling.shape[1],
                value.shape[2],
                **sizes,
            )
    return sums.to(value.dtype), grad_sampling, grad_attention


def _interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"


def _on_device(tensor: Tensor) -> contextlib.AbstractContextManager:
    return torch.cuda.device(tensor.device) if tensor.is_cuda else contextlib.nullcontext()


def _inputs(
    value: Tensor, sampling: Tensor, attention: Tensor, reference: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Copied where more than the outer strides differ from those of a contiguous tensor."""
    if reference is not None and not reference[:1].is_contiguous():
        reference = reference.contiguous()
    value, sampling, attention = (
        x if x[:1, :1].is_contiguous() else x.contiguous() for x in (value, sampling, attention)
    )
    return value, sampling, attention, reference


def _strides(
    value: Tensor, sampling: Tensor, attention: Tensor, reference: Tensor | None
) -> tuple[int, ...]:
    outer = (stride for x in (value, sampling, attention) for stride in x.stride()[:2])
    return (*outer, 0 if reference is None else reference.stride(0))


def _sizes_and_grid(
    value: Tensor, sampling: Tensor, reference: Tensor | None
) -> tuple[dict[str, int], tuple[int, int]]:
    batch, queries, heads, levels, points, _ = sampling.shape
    channels = value.shape[3]
    block_c = _power_of_two(channels)
    numbers = _power_of_two(levels * points)
    block_q = min(64, max(1, TILE // max(block_c, numbers)))
    sizes = {
        "CHANNELS": channels,
        "LEVELS": levels,
        "POINTS": points,
        "COMPONENTS": 0 if reference is None else reference.shape[3],
        "BLOCK_Q": block_q,
        "BLOCK_C": block_c,
        "N2": numbers,
    }
    return sizes, (-(-queries // block_q) * heads, batch)


def _power_of_two(n: int) -> int:
    return 1 << (n - 1).bit_length()


@functools.lru_cache(maxsize=64)
def _levels(shapes: tuple[tuple[int, int], ...], device: torch.device) -> Tensor:
    """(levels, 3): height, width and first position; kept, since copies to a GPU make it wait."""
    rows, start = [], 0
    for height, width in shapes:
        rows.append((height, width, start))
        start += height * width
    return torch.tensor(rows, dtype=torch.int32, device=device)
