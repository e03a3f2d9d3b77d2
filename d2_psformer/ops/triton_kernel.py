"""Backend "triton": kernels for GPUs without the compiled CUDA library.

``TRITON_INTERPRET=1``, set before the first import of triton, runs them on tensors of the CPU,
slowly: for tests.
"""

import contextlib
import functools
import importlib.util
import os

import torch
from torch import Tensor

from .inputs import Inputs
from .library import limits

MAX_CHANNELS, MAX_BATCH = 1024, 65535
TILE = 1024  # numbers that a program holds in one tensor: queries times channels


@functools.cache
def unavailable() -> str | None:
    """Why the kernels cannot be used, in sentences; None if they can."""
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed (`pip install triton`)."
    if not _interpreted() and not torch.cuda.is_available():
        return "torch finds no GPU (TRITON_INTERPRET=1 runs Triton's interpreter, for tests)."
    return None


def supports(inputs: Inputs) -> str | None:
    """Why these tensors are not supported; None if they are."""
    value = inputs.value
    if value.device.type != "cuda" and not _interpreted():
        return f"it supports tensors on cuda, these are on {value.device.type}."
    if torch.are_deterministic_algorithms_enabled():
        return "its backward pass is not deterministic, but deterministic algorithms are in use."
    if value.dtype == torch.float64:
        return "it has no kernel for torch.float64."
    if value.shape[3] > MAX_CHANNELS or value.shape[0] > MAX_BATCH:
        return (
            f"it supports up to {MAX_CHANNELS} channels and batches up to {MAX_BATCH}, "
            f"these are {value.shape[3]} and {value.shape[0]}."
        )
    return limits(inputs)


def forward(inputs: Inputs) -> Tensor:
    """(B, Q, heads * channels) in the type of ``value``, as :func:`reference.forward` gives it."""
    from .triton_code import forward_kernel

    out = inputs.new_output()
    if out.numel():
        inputs = inputs.with_plain_rows()
        sizes, grid = _sizes_and_grid(inputs)
        with _on_device(out):
            forward_kernel[grid](*_tensors(inputs), out, *_numbers(inputs), **sizes)
    return out


def backward(grad_out: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of value, sampling and attention.

    The gradient of value is summed in float32, in an order that differs from run to run.

    Args:
        grad_out: contiguous, in the type of ``value``.
    """
    from .triton_code import backward_kernel

    value, _, sampling, attention, _ = inputs = inputs.with_plain_rows()
    sums = value.new_zeros(value.shape, dtype=torch.float32)
    grads = sampling.new_empty(sampling.shape), attention.new_empty(attention.shape)
    if grad_out.numel():
        sizes, grid = _sizes_and_grid(inputs)
        tensors = (grad_out, *_tensors(inputs), sums, *grads)
        with _on_device(value):
            backward_kernel[grid](*tensors, value.shape[1], *_numbers(inputs), **sizes)
    return sums.to(value.dtype), *grads


def _interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"


def _on_device(tensor: Tensor) -> contextlib.AbstractContextManager:
    return torch.cuda.device(tensor.device) if tensor.is_cuda else contextlib.nullcontext()


def _tensors(inputs: Inputs) -> tuple[Tensor, ...]:
    value, shapes, sampling, attention, reference = inputs
    levels = _levels(tuple(map(tuple, shapes)), value.device)
    return value, levels, sampling, attention, value if reference is None else reference


def _numbers(inputs: Inputs) -> tuple[int, ...]:
    """Outer strides, queries and heads."""
    value, _, sampling, attention, reference = inputs
    strides = (stride for x in (value, sampling, attention) for stride in x.stride()[:2])
    return *strides, 0 if reference is None else reference.stride(0), *sampling.shape[1:3]


def _sizes_and_grid(inputs: Inputs) -> tuple[dict[str, int], tuple[int, int]]:
    """Numbers that the kernel is compiled for, and the programs that are started."""
    batch, queries, heads, levels, points = inputs.attention.shape
    channels = inputs.value.shape[3]
    block_c, numbers = _power_of_two(channels), _power_of_two(levels * points)
    block_q = min(64, max(1, TILE // max(block_c, numbers)))
    sizes = {"CHANNELS": channels, "LEVELS": levels, "POINTS": points}
    sizes |= {"BLOCK_Q": block_q, "BLOCK_C": block_c, "N2": numbers}
    sizes["COMPONENTS"] = 0 if inputs.reference is None else inputs.reference.shape[3]
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
