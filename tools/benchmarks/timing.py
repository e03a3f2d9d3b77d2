"""Fair timing on a noisy machine, and peak memory."""

import multiprocessing
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

Call = Callable[[], object]


def take_turns(calls: dict[str, Call], rounds: int, device: str = "cpu") -> dict[str, float]:
    """Median seconds of each call; they take turns, and each turn begins with a call to warm up.

    Without that the caches would hold what another one has left there.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            call()
            _wait(device)
            start = time.perf_counter()
            call()
            _wait(device)
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def peak_memory(build: Callable[[], Call], device: str = "cpu") -> int:
    """Most bytes that one call takes beyond what was there before it.

    Args:
        build: makes the inputs and returns the call. It must be picklable: on a CPU it runs in a
            process of its own, whose first call nobody has made memory for.
    """
    if device == "cuda":
        return peak_of_call(build(), device)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_of_process, (build,))


def _peak_of_process(build: Callable[[], Call]) -> int:
    torch.set_num_threads(1)
    return peak_of_call(build())


def peak_of_call(call: Call, device: str = "cpu") -> int:
    """Most bytes that a call takes beyond what was there; on a CPU, of a process that is new."""
    if device == "cuda":
        call()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    Path("/proc/self/clear_refs").write_text("5")  # forget the highest mark so far
    before = _status("VmRSS")
    call()
    return _status("VmHWM") - before


def _status(field: str) -> int:
    """Bytes from the Linux kernel's account of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return 1024 * int(line.split()[1])
    raise OSError(f"This kernel does not tell {field}: memory is measured on Linux only.")


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
