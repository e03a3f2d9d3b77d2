"""The CUDA kernels on tensors: a ctypes binding of ``csrc/cuda_*.cu``, without torch's headers."""

import ctypes
import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from . import build

ABI = 1
MAX_LEVELS = MAX_POINTS = 16
DTYPES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2, torch.float64: 3}
_POINTERS = (
    *("value", "sampling", "attention", "reference", "out"),
    *("grad_out", "grad_value", "grad_sampling", "grad_attention", "bound", "poison"),
)
_NUMBERS = (
    *("value_batch", "value_position", "sampling_batch", "sampling_query"),
    *("attention_batch", "attention_query", "reference_batch"),
    *("batch", "positions", "heads", "channels", "queries", "levels", "points"),
    *("components", "dtype", "half_sampling", "half_attention", "device"),
)


class Arguments(ctypes.Structure):
    """``PsformerCudaArgs`` of ``csrc/cuda_args.cuh``, which says what the fields mean."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in _POINTERS),
        *((name, ctypes.c_int64) for name in _NUMBERS),
        *((name, ctypes.c_int64 * MAX_LEVELS) for name in ("height", "width", "start")),
    ]


@functools.cache
def unavailable() -> str | None:
    """Why the kernels cannot be used, with the mend; None if they can."""
    if torch.version.cuda is None:
        return "This torch was built without CUDA."
    if not torch.cuda.is_available():
        return "torch finds no CUDA device."
    if build.library_path("cuda") is None:
        return build.why_missing("cuda")
    try:
        version = _library().psformer_abi_version()
    except (OSError, AttributeError) as error:
        return f"The compiled library cannot be loaded: {error}."
    if version != ABI:
        return (
            f"The compiled library has interface {version}, this package needs {ABI}: "
            "`python -m d2_psformer.ops build cuda` compiles it anew."
        )
    return None


def supports(
    value: Tensor,
    shapes: Sequence[tuple[int, int]],
    sampling: Tensor,
    attention: Tensor,
    reference: Tensor | None,
) -> str | None:
    """Why these tensors cannot be served; None if they can."""
    _, queries, heads, levels, points, _ = sampling.shape
    if value.dtype not in DTYPES:
        return f"it has no kernel for {value.dtype}."
    if levels > MAX_LEVELS or points > MAX_POINTS:
        return (
            f"it is compiled for up to {MAX_LEVELS} levels and {MAX_POINTS} points, "
            f"these are {levels} and {points}."
        )
    if max(value.shape[1], queries * heads) >= 2**31:
        return "it counts positions, and queries times heads, up to 2^31 - 1."
    return _unfit_device(value.device.index or 0)


def forward(
    value: Tensor,
    shapes: Sequence[tuple[int, int]],
    sampling: Tensor,
    attention: Tensor,
    reference: Tensor | None,
) -> Tensor:
    """Arguments and result as those of :func:`reference.forward`.

    Raises:
        RuntimeError: CUDA's own message.
    """
    inputs = _inputs(value, sampling, attention, reference)
    out = value.new_empty(value.shape[0], sampling.shape[1], value.shape[2] * value.shape[3])
    if out.numel():
        _call("forward", _arguments(shapes, *inputs, out=out), value.device)
    return out


def backward(
    grad_out: Tensor,
    value: Tensor,
    shapes: Sequence[tuple[int, int]],
    sampling: Tensor,
    attention: Tensor,
    reference: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of value, sampling and attention.

    The gradient of value is summed in float32 (float64 for float64) in an order that differs from
    run to run; under ``torch.use_deterministic_algorithms`` in 64-bit fixed point, which takes
    twice the memory and more time. ``csrc/cuda_sums.cuh`` states its error; where a number is not
    finite, the whole gradient of value is NaN then.

    Raises:
        RuntimeError: CUDA's own message.
    """
    inputs = _inputs(value, sampling, attention, reference)
    grad_out = grad_out.contiguous()
    deterministic = torch.are_deterministic_algorithms_enabled()
    wide = torch.float64 if value.dtype == torch.float64 else torch.float32
    sums = value.new_zeros(value.shape, dtype=torch.int64 if deterministic else wide)
    grad_sampling = sampling.new_empty(sampling.shape)
    grad_attention = attention.new_empty(attention.shape)
    outputs = {
        "grad_value": sums,
        "grad_sampling": grad_sampling,
        "grad_attention": grad_attention,
    }
    if not grad_out.numel():
        return value.new_zeros(value.shape), grad_sampling, grad_attention
    if deterministic:
        outputs["bound"] = _bound(grad_out, attention, reference)
        outputs["poison"] = sums.new_zeros(1, dtype=torch.int32)
    arguments = _arguments(shapes, *inputs, grad_out=grad_out, **outputs)
    _call("backward", arguments, value.device)
    if not deterministic:
        return sums.to(value.dtype), grad_sampling, grad_attention
    grad_value = value.new_empty(value.shape)
    _call("from_fixed_point", arguments, value.device, grad_value.data_ptr())
    return grad_value, grad_sampling, grad_attention


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


def _inputs(
    value: Tensor, sampling: Tensor, attention: Tensor, reference: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Copied where more than the outer strides differ from those of a contiguous tensor."""
    if reference is not None:
        reference = _contiguous_from(1, reference)
    value, sampling, attention = (_contiguous_from(2, x) for x in (value, sampling, attention))
    return value, sampling, attention, reference


def _contiguous_from(first: int, tensor: Tensor) -> Tensor:
    expected = 1
    for dim in range(tensor.dim() - 1, first - 1, -1):
        if tensor.shape[dim] != 1 and tensor.stride(dim) != expected:
            return tensor.contiguous()
        expected *= tensor.shape[dim]
    return tensor


def _arguments(
    shapes: Sequence[tuple[int, int]],
    value: Tensor,
    sampling: Tensor,
    attention: Tensor,
    reference: Tensor | None,
    **others: Tensor,
) -> Arguments:
    """The tensors must outlive the call of the kernel: only their addresses are kept."""
    tensors = {"value": value, "sampling": sampling, "attention": attention, **others}
    arguments = Arguments(**{name: tensor.data_ptr() for name, tensor in tensors.items()})
    if reference is not None:
        arguments.reference = reference.data_ptr()
        arguments.reference_batch = reference.stride(0)
        arguments.components = reference.shape[3]
    arguments.value_batch, arguments.value_position = value.stride()[:2]
    arguments.sampling_batch, arguments.sampling_query = sampling.stride()[:2]
    arguments.attention_batch, arguments.attention_query = attention.stride()[:2]
    arguments.batch, arguments.positions, arguments.heads, arguments.channels = value.shape
    _, arguments.queries, _, arguments.levels, arguments.points = attention.shape
    arguments.dtype = DTYPES[value.dtype]
    wide = torch.float64 if value.dtype == torch.float64 else torch.float32
    arguments.half_sampling = sampling.dtype != wide
    arguments.half_attention = attention.dtype != wide
    arguments.device = value.device.index or 0
    start = 0
    for level, (height, width) in enumerate(shapes):
        arguments.height[level], arguments.width[level] = height, width
        arguments.start[level] = start
        start += height * width
    return arguments


def _call(name: str, arguments: Arguments, device: torch.device, *more: int) -> None:
    """Start a kernel on torch's current stream of the device; `more`: further addresses."""
    function = getattr(_library(), f"psformer_cuda_{name}")
    with torch.cuda.device(device):
        stream = torch.cuda.current_stream().cuda_stream
        pointers = (ctypes.c_void_p(address) for address in (*more, stream))
        message = function(ctypes.byref(arguments), *pointers)
    if message is not None:
        raise RuntimeError(f"CUDA in multi-scale deformable attention: {message.decode()}.")


@functools.cache
def _unfit_device(index: int) -> str | None:
    """Why the library has no code for the GPU; None if it has."""
    with torch.cuda.device(index):
        message = _library().psformer_cuda_check_device(index)
    if message is None:
        return None
    return f"the compiled library does not run on {torch.cuda.get_device_name(index)}: " + (
        f"{message.decode()}. `python -m d2_psformer.ops build cuda` compiles it anew."
    )


@functools.cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(str(build.library_path("cuda")))
    for name in ("forward", "backward", "from_fixed_point", "check_device"):
        getattr(library, f"psformer_cuda_{name}").restype = ctypes.c_char_p
    return library
