"""Backend "cuda": the compiled kernels in csrc/cuda_*."""

import ctypes
import functools

import torch
from torch import Tensor

from . import library
from .inputs import Inputs, wide_type


@functools.cache
def unavailable() -> str | None:
    """Why the kernels cannot be used, in sentences; None if they can."""
    if torch.version.cuda is None:
        return "This torch was built without CUDA."
    if not torch.cuda.is_available():
        return "torch finds no CUDA device."
    return library.why_unusable("cuda")


def supports(inputs: Inputs) -> str | None:
    """Why these tensors are not supported; None if they are."""
    return library.limits(inputs) or _unfit_device(inputs.value.device.index or 0)


def forward(inputs: Inputs) -> Tensor:
    """(B, Q, heads * channels) in the type of ``value``, as :func:`reference.forward` gives it.

    Raises:
        RuntimeError: CUDA's own message.
    """
    inputs, out = inputs.with_plain_rows(), inputs.new_output()
    if out.numel():
        _call("forward", library.problem_of(inputs, out=out), out.device)
    return out


def backward(grad_out: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of value, sampling and attention.

    The gradient of value is summed in float32 (float64 for float64) in an order that differs from
    run to run; under ``torch.use_deterministic_algorithms`` in 64-bit fixed point, which takes
    more memory and time. ``csrc/cuda_sums.cuh`` states its error; where a number is not
    finite, the whole gradient of value is NaN then.

    Args:
        grad_out: contiguous, in the type of ``value``.

    Raises:
        RuntimeError: CUDA's own message.
    """
    value, _, sampling, attention, reference = inputs = inputs.with_plain_rows()
    deterministic = torch.are_deterministic_algorithms_enabled()
    sum_type = torch.int64 if deterministic else wide_type(value.dtype)
    sums = value.new_zeros(value.shape, dtype=sum_type)
    others = {"grad_out": grad_out, "grad_value": sums}
    others["grad_sampling"] = grad_sampling = sampling.new_empty(sampling.shape)
    others["grad_attention"] = grad_attention = attention.new_empty(attention.shape)
    if not grad_out.numel():
        return value.new_zeros(value.shape), grad_sampling, grad_attention
    if deterministic:
        others["bound"] = _bound(grad_out, attention, reference)
        others["poison"] = sums.new_zeros(1, dtype=torch.int32)
    _call("backward", library.problem_of(inputs, **others), value.device)
    if deterministic:
        sums = _from_fixed_point(sums, others["bound"], others["poison"])
    return sums.to(value.dtype), grad_sampling, grad_attention


def _bound(grad_out: Tensor, attention: Tensor, reference: Tensor | None) -> Tensor:
    """One float32 number: no element of value gets more, in absolute terms.

    A query reaches an element through each point at most once, and by no more than the point's
    attention weight; after a softmax these add up to one.
    """
    queries, points = attention.shape[1], attention.shape[-1]
    bound = grad_out.abs().amax().float() * queries
    if reference is None:
        bound = bound * (attention.abs().amax().float() * points)
    return bound


def _from_fixed_point(sums: Tensor, bound: Tensor, poison: Tensor) -> Tensor:
    """Integer sums as float64; all are NaN where a term did not fit. See csrc/cuda_sums.cuh."""
    digits = (62 - torch.frexp(bound).exponent).clamp(max=182)
    unit = torch.pow(2.0, -digits.double())
    return (sums * unit).masked_fill_(poison.bool(), float("nan"))


def _call(name: str, problem: library.Problem, device: torch.device) -> None:
    """Start a kernel on torch's current stream of the device."""
    with torch.cuda.device(device):
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        message = _function(name)(ctypes.byref(problem), stream)
    if message is not None:
        raise RuntimeError(f"CUDA in multi-scale deformable attention: {message.decode()}.")


@functools.cache
def _unfit_device(index: int) -> str | None:
    """Why the library has no code for the GPU; None if it has."""
    with torch.cuda.device(index):
        message = _function("check_device")(index)
    if message is None:
        return None
    return (
        f"the compiled library does not run on {torch.cuda.get_device_name(index)}: "
        f"{message.decode()}. `python -m d2_psformer.ops build cuda` compiles it again."
    )


def _function(name: str) -> ctypes._CFuncPtr:
    """A function of the library that returns null, or why it failed."""
    function = getattr(library.load("cuda"), f"psformer_cuda_{name}")
    function.restype = ctypes.c_char_p
    return function
