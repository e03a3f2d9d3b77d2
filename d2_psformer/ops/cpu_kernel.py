"""Binding of the compiled CPU kernel (csrc/cpu_*): tensors become pointers, sizes and strides."""

import ctypes
import functools
import os
from collections.abc import Sequence

import torch
from torch import Tensor

from . import build

Shapes = Sequence[tuple[int, int]]

ABI_VERSION = 4
MAX_LEVELS = 16
MAX_POINTS = 16
# Chooses the instruction set, for tests and benchmarks; read at every call.
ISA_VARIABLE = "D2_PSFORMER_CPU_ISA"
ISAS = ("generic", "avx2", "avx512")
TYPES = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3}
_FAILURES = {1: "out of memory for its workspace", 2: "this processor lacks the instruction set"}


def _fields(kind: type, names: str) -> list[tuple[str, type]]:
    return [(name, kind) for name in names.split()]


class _Problem(ctypes.Structure):
    """Mirrors PsformerProblem in csrc/cpu_problem.h."""

    _fields_ = (
        *_fields(ctypes.c_int64, "batch length heads channels queries levels points"),
        ("shapes", ctypes.c_int64 * (2 * MAX_LEVELS)),
        *_fields(ctypes.c_int64, "value_batch value_pixel sampling_batch sampling_query"),
        *_fields(ctypes.c_int64, "attention_batch attention_query reference_batch"),
        *_fields(ctypes.c_int64, "value_type sampling_type attention_type reference_type"),
        *_fields(ctypes.c_int64, "reference_size threads"),
        *_fields(ctypes.c_void_p, "value sampling attention reference out grad_out"),
        *_fields(ctypes.c_void_p, "grad_value grad_sampling grad_attention"),
    )


def unavailable() -> str | None:
    """Why the kernel cannot be used, as a sentence; None if it can."""
    try:
        _library()
    except (OSError, RuntimeError) as error:
        return str(error)
    return None


def supports(
    value: Tensor, shapes: Shapes, sampling: Tensor, attention: Tensor, reference: Tensor | None
) -> str | None:
    """Why the kernel cannot serve these inputs, as a sentence; None if it can."""
    for tensor in (value, sampling, attention):
        if tensor.dtype not in TYPES:
            return f"it does not know the type {tensor.dtype}."
    if len(shapes) > MAX_LEVELS or attention.shape[-1] > MAX_POINTS:
        return (
            f"it serves up to {MAX_LEVELS} levels and {MAX_POINTS} points, "
            f"these are {len(shapes)} and {attention.shape[-1]}."
        )
    if any(h * w >= 2**31 for h, w in shapes):
        return f"it serves levels of less than 2^31 pixels, these are {list(shapes)}."
    return None


def forward(
    value: Tensor, shapes: Shapes, sampling: Tensor, attention: Tensor, reference: Tensor | None
) -> Tensor:
    """Sample and sum, as :func:`d2_psformer.ops.reference.forward`.

    Args:
        value: (B, S, heads, channels) float32, float64, bfloat16 or float16.
        shapes: (H, W) of every level.
        sampling: (B, Q, heads, levels, points, 2) locations, or offsets if there is a reference.
        attention: (B, Q, heads, levels, points) weights, or logits if there is a reference.
        reference: None, (B, Q, levels, 2) or (B, Q, levels, 4).

    Returns:
        (B, Q, heads * channels) in the type of ``value``.
    """
    queries, (batch, _, heads, channels) = sampling.shape[1], value.shape
    out = value.new_empty(batch, queries, heads * channels)
    if value.numel() == 0 or sampling.numel() == 0:
        return out.zero_()
    problem, _kept = _problem(value, shapes, sampling, attention, reference)
    problem.out = out.data_ptr()
    call("psformer_cpu_forward", problem)
    return out


def backward(
    grad_out: Tensor,
    value: Tensor,
    shapes: Shapes,
    sampling: Tensor,
    attention: Tensor,
    reference: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of value, sampling and attention, contiguous, each in the type of its tensor."""
    grads = [
        torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in (value, sampling, attention)
    ]
    if value.numel() == 0 or sampling.numel() == 0:
        return tuple(grad.zero_() for grad in grads)
    problem, _kept = _problem(value, shapes, sampling, attention, reference)
    grad_out = grad_out.to(value.dtype).contiguous()
    problem.grad_out = grad_out.data_ptr()
    problem.grad_value, problem.grad_sampling, problem.grad_attention = map(Tensor.data_ptr, grads)
    call("psformer_cpu_backward", problem)
    return tuple(grads)


def _problem(
    value: Tensor, shapes: Shapes, sampling: Tensor, attention: Tensor, reference: Tensor | None
) -> tuple[_Problem, list]:
    """The arguments, and the tensors that must live as long as they are used."""
    value, sampling, attention = (_with_plain_rows(x, 2) for x in (value, sampling, attention))
    problem = _Problem(
        *(*value.shape, sampling.shape[1], *attention.shape[3:]),
        (ctypes.c_int64 * (2 * MAX_LEVELS))(*(size for shape in shapes for size in shape)),
        *(*value.stride()[:2], *sampling.stride()[:2], *attention.stride()[:2], 0),
        *(TYPES[x.dtype] for x in (value, sampling, attention)),
        threads=torch.get_num_threads(),
        value=value.data_ptr(),
        sampling=sampling.data_ptr(),
        attention=attention.data_ptr(),
    )
    if reference is not None:
        if reference.dtype not in (torch.float32, torch.float64):
            reference = reference.float()
        reference = _with_plain_rows(reference, 1)
        problem.reference = reference.data_ptr()
        problem.reference_batch = reference.stride(0)
        problem.reference_type = TYPES[reference.dtype]
        problem.reference_size = reference.shape[-1]
    return problem, [value, sampling, attention, reference]


def _with_plain_rows(tensor: Tensor, free: int) -> Tensor:
    """Contiguous but for the first ``free`` dimensions, whose strides the kernel follows."""
    return tensor if tensor[(0,) * free].is_contiguous() else tensor.contiguous()


def call(name: str, problem: ctypes.Structure) -> None:
    """Run an entry point of the library with its arguments."""
    status = getattr(_library(), name)(ctypes.byref(problem), _wanted_isa())
    if status:
        raise RuntimeError(f"{name} of the compiled CPU library failed: {_FAILURES[status]}.")


def _wanted_isa() -> int:
    """Index into ISAS, -1 for the best that the processor has."""
    name = os.environ.get(ISA_VARIABLE)
    if not name:
        return -1
    if name not in ISAS:
        raise RuntimeError(f"{ISA_VARIABLE} is {name!r}, it must be one of {', '.join(ISAS)}.")
    return ISAS.index(name)


def isa_in_use() -> str | None:
    """The instruction set that serves; None if the processor lacks the one that is asked for."""
    index = _library().psformer_cpu_isa(_wanted_isa())
    return None if index < 0 else ISAS[index]


@functools.cache
def _library() -> ctypes.CDLL:
    path = build.library_path("cpu")
    if path is None:
        raise RuntimeError(build.why_missing("cpu"))
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        if "GOMP" not in str(error) and "omp_" not in str(error):
            raise
        # It takes the threads that torch has loaded. This torch came without them.
        ctypes.CDLL("libgomp.so.1", mode=ctypes.RTLD_GLOBAL)
        library = ctypes.CDLL(str(path))
    library.psformer_cpu_problem_size.restype = ctypes.c_size_t
    built_for = library.psformer_abi_version(), library.psformer_cpu_problem_size()
    if built_for != (ABI_VERSION, ctypes.sizeof(_Problem)):
        raise RuntimeError(
            f"{path} was compiled for another version of this package; "
            "`python -m d2_psformer.ops build cpu` compiles it again."
        )
    for name in ("forward", "backward"):
        getattr(library, f"psformer_cpu_{name}").argtypes = [ctypes.c_void_p, ctypes.c_int]
    return library
