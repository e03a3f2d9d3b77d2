"""Which kernels there are, why the others are not there, and which one serves."""

import functools
import importlib
import warnings
from collections.abc import Sequence
from types import ModuleType

import torch
from torch import Tensor

from . import build

NAMES = ("cpu", "cuda", "triton", "pytorch")
# The compiled backends that tensors of a device may take, the fastest first.
FOR_DEVICE = {"cpu": ("cpu",), "cuda": ("cuda", "triton")}
_MODULES = {
    "cpu": ".cpu_kernel",
    "cuda": ".cuda_kernel",
    "triton": ".triton_kernel",
    "pytorch": ".reference",
}
_told: set[tuple[str, str]] = set()


@functools.cache
def module(name: str) -> ModuleType:
    """The backend: its functions unavailable, supports, forward and backward."""
    return importlib.import_module(_MODULES[name], __package__)


@functools.cache
def unavailable(name: str) -> str | None:
    """Why the backend cannot be used, with the mend; None if it can."""
    if name in build.LIBRARIES and build.library_path(name) is None:
        return build.why_missing(name)
    return module(name).unavailable()


@torch.compiler.assume_constant_result
def default(device_type: str) -> str:
    """What serves a call that names no backend: "auto" (see :func:`choose`), or "pytorch".

    Where no kernel can serve, plain PyTorch is called outside of the operator, so that compilers
    see through it.
    """
    reasons = {}
    for name in FOR_DEVICE.get(device_type, ()):
        reasons[name] = unavailable(name)
        if reasons[name] is None:
            return "auto"
    _tell_once(device_type, "pytorch", reasons)
    return "pytorch"


def choose(
    backend: str,
    value: Tensor,
    shapes: Sequence[tuple[int, int]],
    sampling: Tensor,
    attention: Tensor,
    reference: Tensor | None,
) -> ModuleType:
    """The named backend, or for "auto" the fastest that can serve these tensors.

    Raises:
        RuntimeError: the named one cannot; says why and the mend.
    """
    inputs = (value, shapes, sampling, attention, reference)
    device_type = value.device.type
    if backend != "auto":
        reason = _refusal(backend, device_type, inputs)
        if reason is not None:
            raise RuntimeError(f"Backend {backend!r} of multi-scale deformable attention: {reason}")
        return module(backend)
    reasons = {}
    for name in FOR_DEVICE.get(device_type, ()):
        reason = _refusal(name, device_type, inputs)
        if reason is None:
            break
        reasons[name] = reason
    else:
        name = "pytorch"
    if reasons:
        _tell_once(device_type, name, reasons)
    return module(name)


def _refusal(name: str, device_type: str, inputs: tuple) -> str | None:
    reason = unavailable(name)
    if reason is not None:
        return reason
    if name in build.LIBRARIES and name != device_type:
        return f"it serves tensors on {name}, these are on {device_type}."
    return module(name).supports(*inputs)


def _tell_once(device_type: str, serving: str, reasons: dict[str, str]) -> None:
    """One warning for each device type and reason, when a slower backend serves."""
    news = [(device_type, reason) for reason in reasons.values()]
    if _told.issuperset(news):
        return
    _told.update(news)
    why = " ".join(f"{name}: {reason}" for name, reason in reasons.items())
    warnings.warn(
        f"Multi-scale deformable attention on {device_type} runs on the slower backend "
        f"{serving!r}. {why} `python -m d2_psformer.ops` shows all.",
        stacklevel=2,
    )
