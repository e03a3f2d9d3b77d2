"""Backend "cpu": the compiled kernels in csrc/cpu_*."""

import ctypes
import os

from torch import Tensor

from . import library
from .inputs import Inputs

# Chooses the instruction set, for tests and benchmarks; read at every call.
ISA_VARIABLE = "D2_PSFORMER_CPU_ISA"
ISAS = ("generic", "avx2", "avx512")
_FAILURES = {1: "out of memory for its workspace", 2: "this processor lacks the instruction set"}

supports = library.limits


def unavailable() -> str | None:
    """Why the kernels cannot be used, in sentences; None if they can."""
    return library.why_unusable("cpu")


def forward(inputs: Inputs) -> Tensor:
    """(B, Q, heads * channels) in the type of ``value``, as :func:`reference.forward` gives it.

    Raises:
        RuntimeError: memory ran out, or the processor lacks the instruction set asked for.
    """
    out = inputs.new_output()
    if inputs.value.numel() == 0 or inputs.sampling.numel() == 0:
        return out.zero_()
    _call("psformer_cpu_forward", inputs, out=out)
    return out


def backward(grad_out: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of value, sampling and attention, contiguous, each in the type of its tensor.

    Args:
        grad_out: contiguous, in the type of ``value``.

    Raises:
        RuntimeError: as :func:`forward`.
    """
    names = ("value", "sampling", "attention")
    sources = {f"grad_{name}": getattr(inputs, name) for name in names}
    grads = {name: source.new_empty(source.shape) for name, source in sources.items()}
    if inputs.value.numel() == 0 or inputs.sampling.numel() == 0:
        return tuple(grad.zero_() for grad in grads.values())
    _call("psformer_cpu_backward", inputs, grad_out=grad_out, **grads)
    return tuple(grads.values())


def isa_in_use() -> str | None:
    """The instruction set in use; None if the processor lacks the one that is asked for."""
    index = library.load("cpu").psformer_cpu_isa(_requested_isa())
    return None if index < 0 else ISAS[index]


def _call(name: str, inputs: Inputs, **others: Tensor) -> None:
    inputs = inputs.with_plain_rows()  # keeps copies alive until the kernel has returned
    problem = library.problem_of(inputs, **others)
    status = getattr(library.load("cpu"), name)(ctypes.byref(problem), _requested_isa())
    if status:
        raise RuntimeError(f"{name} of the compiled CPU library failed: {_FAILURES[status]}.")


def _requested_isa() -> int:
    """Index into ISAS, -1 for the best that the processor has."""
    name = os.environ.get(ISA_VARIABLE)
    if not name:
        return -1
    if name not in ISAS:
        raise RuntimeError(f"{ISA_VARIABLE} is {name!r}, it must be one of {', '.join(ISAS)}.")
    return ISAS.index(name)
