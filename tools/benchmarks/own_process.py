"""Contestants in processes of their own: none works in memory that another one has left there."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import torch

from .stages import Build, Contestant
from .timing import peak_of_call

# Forked from a process that has imported everything and computed nothing.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["benchmarks.training", "benchmarks.inference"])

_here: list[Contestant] = []  # the one of this process


class OwnProcess:
    """What ``build`` makes, ready to take turns with others.

    Args:
        build: makes the contestant; it must be picklable.
        threads: of PyTorch.
    """

    def __init__(self, build: Build, threads: int):
        self._pool = ProcessPoolExecutor(1, mp_context=_CONTEXT)
        self._ready = self._pool.submit(_begin, build, threads)

    def stages(self) -> dict[str, float]:
        """Seconds of every stage of one call."""
        return self._do(_stages)

    def result(self) -> object:
        """What a call returns; it must be picklable."""
        return self._do(_result)

    def peak_memory(self, device: str = "cpu") -> int:
        """Most bytes that a call takes beyond what was there before it. Ask for it first."""
        return self._do(partial(_peak, device))

    def _do(self, task):
        self._ready.result()  # tells what went wrong while building
        return self._pool.submit(task).result()


def _begin(build: Build, threads: int) -> None:
    torch.set_num_threads(threads)
    _here.append(build())


def _stages() -> dict[str, float]:
    return _here[0].stages()


def _result() -> object:
    return _here[0].run()


def _peak(device: str) -> int:
    return peak_of_call(_here[0].run, device)
