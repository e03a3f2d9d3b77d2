"""Fair timing on a noisy machine, peak memory, and the description of the machine."""

import ctypes
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

Call = Callable[[], object]


def take_turns(calls: dict[str, Call], rounds: int, device: str = "cpu") -> dict[str, list[float]]:
    """Seconds of every call, ``rounds`` for each; the calls take turns.

    Each turn begins with a call that is not counted: it fills the caches, which hold what another
    call has left there.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            call()
            seconds[name].append(seconds_of(call, device))
    return seconds


def seconds_of(call: Call, device: str = "cpu") -> float:
    """Seconds of one call, with all the work that it starts on a GPU."""
    _wait(device)
    start = time.perf_counter()
    call()
    _wait(device)
    return time.perf_counter() - start


def milliseconds(seconds: list[float]) -> dict[str, float]:
    """The columns of a table: the median and the least of several measurements."""
    return {"median ms": 1e3 * statistics.median(seconds), "min ms": 1e3 * min(seconds)}


def peak_memory(call: Call, device: str = "cpu") -> int | None:
    """The most bytes that a call takes beyond what was there before it, measured at its second run.

    On a CPU this is a matter of the whole process. None where the system does not say it (on a CPU
    only Linux does).
    """
    call()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    reset = Path("/proc/self/clear_refs")
    if not reset.exists():
        return None
    ctypes.CDLL(None).malloc_trim(0)  # memory that was freed must not serve the call unseen
    reset.write_text("5")  # the highest mark so far is forgotten
    before = _status("VmRSS")
    call()
    return _status("VmHWM") - before


def describe_machine(device: str = "cpu") -> str:
    """The hardware and the version of PyTorch, in a line that belongs to every figure."""
    parts = [_cpu_name(), torch.backends.cpu.get_cpu_capability(), f"PyTorch {torch.__version__}"]
    if device == "cuda":
        parts = [torch.cuda.get_device_name(), f"CUDA {torch.version.cuda}", *parts]
    return ", ".join(parts)


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _status(field: str) -> int:
    """Bytes from the Linux kernel's account of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
