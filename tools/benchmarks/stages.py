"""Where the time of a call goes: its stages, timed from outside."""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import torch

TOTAL = "total"

Call = Callable[[], object]
Build = Callable[[], "Contestant"]


class StageClock:
    """Times methods of objects that a call uses, each without the watched ones inside it.

    Args:
        device: "cpu", or "cuda", whose queue is waited for at the border of every stage.
        cpu_time: count seconds that the processor works for this process (all threads together),
            not those that pass.
    """

    def __init__(self, device: str = "cpu", cpu_time: bool = False):
        self.device = device
        self._read = time.process_time if cpu_time else time.perf_counter
        self._seconds: dict[str, float] = defaultdict(float)
        self._inside = [0.0]  # of every open stage, the seconds of the stages within

    def watch(self, stage: str, owner: object, method: str) -> None:
        """From now on count what ``owner.method`` takes as part of ``stage``."""
        inner = getattr(owner, method)

        def timed(*args, **kwargs):
            start = self._now()
            self._inside.append(0.0)
            try:
                return inner(*args, **kwargs)
            finally:
                whole = self._now() - start
                self._seconds[stage] += whole - self._inside.pop()
                self._inside[-1] += whole

        setattr(owner, method, timed)

    def measure(self, call: Call, rest: str) -> dict[str, float]:
        """Seconds of every stage of one call, of the ``rest`` outside all stages, and of all."""
        self._seconds.clear()
        start = self._now()
        call()
        total = self._now() - start
        self._seconds[rest] += total - sum(self._seconds.values())
        return {**self._seconds, TOTAL: total}

    def _now(self) -> float:
        if self.device == "cuda":
            torch.cuda.synchronize()
        return self._read()


@dataclass(frozen=True)
class Contestant:
    """A call, the clock that watches its stages, and the name of what lies outside of them."""

    run: Call
    clock: StageClock
    rest: str

    def stages(self) -> dict[str, float]:
        return self.clock.measure(self.run, self.rest)


def stages_in_turns(
    measurements: dict[str, Callable[[], dict[str, float]]], rounds: int
) -> dict[str, dict[str, float]]:
    """Median seconds of every stage; the contestants take turns after one round to warm up.

    These calls take seconds and fill every cache themselves, so that one such round is enough.
    """
    found: dict[str, list[dict[str, float]]] = {name: [] for name in measurements}
    for turn in range(rounds + 1):
        for name, measure in measurements.items():
            stages = measure()
            if turn:
                found[name].append(stages)
    return {
        name: {stage: statistics.median(run[stage] for run in runs) for stage in runs[0]}
        for name, runs in found.items()
    }
