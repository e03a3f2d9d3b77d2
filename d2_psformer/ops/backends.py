"""Which backends are available, and the choice among them."""

import functools
import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType

import torch

from . import build
from .inputs import Inputs

NAMES = ("cpu", "cuda", "triton", "pytorch")
# The compiled backends that tensors of a device may take, the fastest first.
FOR_DEVICE = {"cpu": ("cpu",), "cuda": ("cuda", "triton")}
_warned: set[tuple[str, str]] = set()
_plain = ContextVar("plain operators", default=False)


@contextmanager
def plain_operators() -> Iterator[None]:
    """Inside of it, calls that name no backend are made of operators that PyTorch has itself.

    A program that is exported there needs nothing of this package to run.
    """
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


@functools.cache
def module(name: str) -> ModuleType:
    """The backend: its functions unavailable, supports, forward and backward."""
    file = "reference" if name == "pytorch" else f"{name}_kernel"
    return importlib.import_module(f".{file}", __package__)


@functools.cache
def unavailable(name: str) -> str | None:
    """Why the backend cannot be used and what to do about it; None if it can."""
    return module(name).unavailable()


@torch.compiler.assume_constant_result
def default(device_type: str) -> str:
    """Backend of a call that names none: "auto" (see :func:`choose`), or "pytorch".

    Where no kernel is available, plain PyTorch is called outside of the operator, so that compilers
    see its operators. So it is for exporters: see :func:`plain_operators`.
    """
    if _plain.get() or torch.onnx.is_in_onnx_export():
        return "pytorch"
    reasons = {name: unavailable(name) for name in FOR_DEVICE.get(device_type, ())}
    if None in reasons.values():
        return "auto"
    _warn_once(device_type, "pytorch", reasons)
    return "pytorch"


def choose(backend: str, inputs: Inputs) -> ModuleType:
    """The named backend, or for "auto" the fastest that supports these tensors.

    Raises:
        RuntimeError: the named one cannot; the message says why and what to do.
    """
    device_type = inputs.value.device.type
    if backend != "auto":
        reason = _refusal(backend, inputs)
        if reason is not None:
            raise RuntimeError(f"Backend {backend!r} of multi-scale deformable attention: {reason}")
        return module(backend)
    reasons = {}
    for name in (*FOR_DEVICE.get(device_type, ()), "pytorch"):
        reason = _refusal(name, inputs)
        if reason is None:
            break
        reasons[name] = reason
    _warn_once(device_type, name, reasons)
    return module(name)


def _refusal(name: str, inputs: Inputs) -> str | None:
    reason, device_type = unavailable(name), inputs.value.device.type
    if reason is not None:
        return reason
    if name in build.LIBRARIES and name != device_type:
        return f"it supports tensors on {name}, these are on {device_type}."
    return module(name).supports(inputs)


def _warn_once(device_type: str, chosen: str, reasons: dict[str, str]) -> None:
    """Warn that a slower backend is in use, once for each device type and reason."""
    news = [(device_type, reason) for reason in reasons.values()]
    if _warned.issuperset(news):
        return
    _warned.update(news)
    why = " ".join(f"{name}: {reason}" for name, reason in reasons.items())
    warnings.warn(
        f"Multi-scale deformable attention on {device_type} runs on the slower backend "
        f"{chosen!r}. {why} `python -m d2_psformer.ops` shows all.",
        stacklevel=2,
    )
