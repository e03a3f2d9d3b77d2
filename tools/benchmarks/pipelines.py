"""Work that is done in stages, timed stage by stage."""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch

TOTAL = "total"

# name of a stage -> what it makes of the result of the one before
Pipeline = dict[str, Callable[[Any], Any]]


def time_stages(
    pipelines: dict[str, Pipeline], start: Any, rounds: int, device: str = "cpu"
) -> dict[str, dict[str, float]]:
    """Median seconds of every stage and of all together; pipelines take turns.

    Args:
        pipelines: of every contestant.
        start: what the first stage of each gets.
    """
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    for turn in range(rounds + 1):
        for name, stages in pipelines.items():
            seconds, _ = run_stages(stages, start, device)
            if turn:  # the first one only warms up
                found[name].append(seconds)
    return {
        name: {stage: statistics.median(run[stage] for run in runs) for stage in runs[0]}
        for name, runs in found.items()
    }


def run_stages(stages: Pipeline, start: Any, device: str = "cpu") -> tuple[dict[str, float], Any]:
    """Seconds of every stage and of all together in one run, and its result."""
    seconds, state = {}, start
    for stage, work in stages.items():
        began = _now(device)
        state = work(state)
        seconds[stage] = _now(device) - began
    return {**seconds, TOTAL: sum(seconds.values())}, state


@contextmanager
def watched(stages: dict[str, str], *owners: object) -> Iterator[dict[str, float]]:
    """Meanwhile the seconds of every stage are added up in the dict that this gives.

    Args:
        stages: function -> stage that its time belongs to.
        owners: modules or objects, each with some of the functions.
    """
    seconds: dict[str, float] = defaultdict(float)
    with ExitStack() as stack:
        for owner in owners:
            for name in stages.keys() & set(dir(owner)):
                timed = _timed(getattr(owner, name), stages[name], seconds)
                stack.enter_context(mock.patch.object(owner, name, timed))
        yield seconds


def _timed(function: Callable, stage: str, seconds: dict[str, float]) -> Callable:
    def call(*args, **kwargs):
        start = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            seconds[stage] += time.perf_counter() - start

    return call


def stage_table(rows: list[dict], keys: tuple[str, ...]) -> list[dict]:
    """Rows of one stage each, with its share; measurements that agree in ``keys`` are added up.

    Args:
        rows: with ``stages``, milliseconds by name.
    """
    sums: dict[tuple, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for row in rows:
        for stage, milliseconds in row["stages"].items():
            sums[tuple(row[key] for key in keys)][stage] += milliseconds
    return [
        {
            **dict(zip(keys, values, strict=True)),
            "stage": stage,
            "ms": milliseconds,
            "share": milliseconds / sum(stages.values()),
        }
        for values, stages in sums.items()
        for stage, milliseconds in stages.items()
    ]


def _now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
