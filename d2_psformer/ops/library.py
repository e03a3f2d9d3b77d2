"""The compiled libraries: how they are loaded, and the one argument of their functions."""

import ctypes
import functools

import torch
from torch import Tensor

from . import build
from .inputs import Inputs

# Of csrc/problem.h.
ABI_VERSION = 5
MAX_LEVELS = MAX_POINTS = 16
TYPES = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3}
_POINTERS = (
    *("value", "sampling", "attention", "reference", "out"),
    *("grad_out", "grad_value", "grad_sampling", "grad_attention", "bound", "poison"),
)
_NUMBERS = (
    *("value_batch", "value_position", "sampling_batch", "sampling_query"),
    *("attention_batch", "attention_query", "reference_batch"),
    *("batch", "positions", "heads", "channels", "queries", "levels", "points", "components"),
    *("value_type", "sampling_type", "attention_type", "threads", "device"),
)


class Problem(ctypes.Structure):
    """``PsformerProblem`` of ``csrc/problem.h``, which says what the fields mean."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in _POINTERS),
        *((name, ctypes.c_int64) for name in _NUMBERS),
        *((name, ctypes.c_int64 * MAX_LEVELS) for name in ("height", "width", "start")),
    )


def problem_of(inputs: Inputs, **others: Tensor) -> Problem:
    """The argument for these tensors, which must outlive the call: only addresses are kept.

    Args:
        inputs: as :meth:`Inputs.with_plain_rows` gives them.
        others: outputs and gradients by the names of their fields, contiguous.
    """
    value, shapes, sampling, attention, reference = inputs
    tensors = {"value": value, "sampling": sampling, "attention": attention, **others}
    problem = Problem(**{name: tensor.data_ptr() for name, tensor in tensors.items()})
    if reference is not None:
        problem.reference = reference.data_ptr()
        problem.reference_batch = reference.stride(0)
        problem.components = reference.shape[3]
    problem.value_batch, problem.value_position = value.stride()[:2]
    problem.sampling_batch, problem.sampling_query = sampling.stride()[:2]
    problem.attention_batch, problem.attention_query = attention.stride()[:2]
    problem.batch, problem.positions, problem.heads, problem.channels = value.shape
    _, problem.queries, _, problem.levels, problem.points = attention.shape
    types = (TYPES[x.dtype] for x in (value, sampling, attention))
    problem.value_type, problem.sampling_type, problem.attention_type = types
    problem.threads, problem.device = torch.get_num_threads(), value.device.index or 0
    start = 0
    for level, (height, width) in enumerate(shapes):
        problem.height[level], problem.width[level], problem.start[level] = height, width, start
        start += height * width
    return problem


def limits(inputs: Inputs) -> str | None:
    """Why compiled kernels do not support these inputs; None if they do."""
    _, queries, heads, levels, points = inputs.attention.shape
    if levels > MAX_LEVELS or points > MAX_POINTS:
        return (
            f"it supports up to {MAX_LEVELS} levels and {MAX_POINTS} points, "
            f"these are {levels} and {points}."
        )
    if max(inputs.value.shape[1], queries * heads) >= 2**31:
        return "it supports fewer than 2^31 positions, and queries times heads."
    return None


def why_unusable(name: str) -> str | None:
    """Why a library cannot be used, in sentences; None if it can."""
    try:
        load(name)
    except (OSError, RuntimeError) as error:
        return str(error)
    return None


@functools.cache
def load(name: str) -> ctypes.CDLL:
    """The library, "cpu" or "cuda".

    Raises:
        OSError, RuntimeError: it was not built, is no library or belongs to another version.
    """
    path = build.library_path(name)
    if path is None:
        raise RuntimeError(build.why_missing(name))
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        if "GOMP" not in str(error) and "omp_" not in str(error):
            raise
        # The library takes the OpenMP runtime that torch has loaded. This torch came without one.
        ctypes.CDLL("libgomp.so.1", mode=ctypes.RTLD_GLOBAL)
        library = ctypes.CDLL(str(path))
    fits = library.psformer_abi_version() == ABI_VERSION
    if not fits or library.psformer_problem_size() != ctypes.sizeof(Problem):
        raise RuntimeError(
            f"{path} was compiled for another version of this package; "
            f"`python -m d2_psformer.ops build {name}` compiles it again."
        )
    return library
