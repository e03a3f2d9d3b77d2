"""The figures of a training, on the terminal and in ``metrics.json``."""

import json
import logging
import os
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import torch

from ..d2.engine import hooks
from ..d2.utils import EventStorage, EventWriter, get_event_storage
from ..utils.files import atomic_write, finite, naming
from .best_checkpoint import StopTraining

WINDOW = 20  # noisy scalars are written as medians over so many iterations
_PERIOD = 20  # iterations from one writing to the next
_AUXILIARY = re.compile(r"_\d+$")  # losses of other layers than the last, e.g. loss_class_3
_SHOWN = ("class_score", "mask_dice", "grad_norm")


class MetricPrinter(EventWriter):
    """Logs one line: time left, iteration, losses of the last layers, metrics, times, rate, memory.

    All scalars, the losses of every layer included, are in ``metrics.json`` and TensorBoard.

    Args:
        window_size: iterations over which medians of losses and metrics are taken.
    """

    def __init__(self, max_iter: int, window_size: int = WINDOW):
        self.logger = logging.getLogger(__name__)
        self.max_iter = max_iter
        self.window_size = window_size

    def write(self) -> None:
        storage = get_event_storage()
        if storage.iter < self.max_iter:  # later calls are for results of the evaluation
            self.logger.info("  ".join(self._parts(storage)))

    def _parts(self, storage: EventStorage) -> Iterator[str]:
        values = storage.latest_with_smoothing_hint(self.window_size)
        if "time" in values:
            seconds = values["time"][0] * (self.max_iter - storage.iter - 1)
            yield f"eta: {timedelta(seconds=int(seconds))}"
        yield f"iter: {storage.iter}"
        for name, (value, _) in values.items():
            if name in _SHOWN or ("loss" in name and not _AUXILIARY.search(name)):
                yield f"{name}: {value:.4g}"
        for name in ("time", "data_time"):
            if name in values:
                yield f"{name}: {values[name][0]:.4f}"
        if "lr" in values:
            yield f"lr: {values['lr'][0]:.5g}"
        yield f"max_mem: {_peak_memory() / 2**20:.0f}M"


def _peak_memory() -> int:
    """Most bytes taken so far: on the GPU where there is one, else by this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    import resource  # Windows has no such module

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes on Linux


class IterationWriter(EventWriter):
    """Base class of writers that get the scalars put since the last call, by iteration.

    Attributes:
        last: the last iteration written, -1 before the first.
    """

    def __init__(self) -> None:
        self.last = -1

    def write(self) -> None:
        new: dict[int, dict[str, float]] = defaultdict(dict)
        for name, (value, iteration) in (
            get_event_storage().latest_with_smoothing_hint(WINDOW).items()
        ):
            if iteration > self.last:
                new[iteration][name] = value
        for iteration in sorted(new):
            self.send(iteration, new[iteration])
            self.last = iteration

    def send(self, iteration: int, values: dict[str, float]) -> None:
        raise NotImplementedError


class MetricsFile(IterationWriter):
    """Lines of strict JSON, ``{"iteration": i, name: value, ...}``; NaN and Inf are null."""

    def __init__(self, path: str):
        super().__init__()
        self.path = path

    def resume(self, start_iter: int) -> None:
        """Leave out lines that training from ``start_iter`` on writes anew, and damaged ones."""
        lines: dict[int, dict] = {}
        if os.path.isfile(self.path):
            with open(self.path, encoding="utf-8", errors="replace") as file:
                for line in file:
                    if values := _read_line(line):
                        lines.setdefault(values["iteration"], {}).update(values)
        kept = sorted(iteration for iteration in lines if iteration < start_iter)
        with atomic_write(self.path, "w") as file:
            file.writelines(map(_as_line, (lines[iteration] for iteration in kept)))
        self.last = max(kept, default=-1)

    def send(self, iteration: int, values: dict[str, float]) -> None:
        with naming(self.path), open(self.path, "a", encoding="utf-8") as file:
            file.write(_as_line({**values, "iteration": iteration}))


def _read_line(line: str) -> dict[str, Any]:
    """The values of a line; none where it is damaged, as one that a kill cut short."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    iteration = values.get("iteration") if isinstance(values, dict) else None
    return values if type(iteration) is int and iteration >= 0 else {}


def _as_line(values: dict[str, float]) -> str:
    return json.dumps(finite(values), sort_keys=True, allow_nan=False) + "\n"


class MetricWriters(hooks.PeriodicWriter):
    """Writes every 20 iterations, and after every evaluation, whose figures the next replaces.

    Nothing is written when training fails or is interrupted: a line for the iteration of an
    evaluation shows that this has been.
    """

    def after_step(self) -> None:
        if is_due(self.trainer.iter + 1, self.trainer):
            for writer in self._writers:
                writer.write()

    def after_train(self) -> None:
        failure = sys.exc_info()[1]
        for writer in self._writers:
            if failure is None or isinstance(failure, StopTraining):
                writer.write()
            writer.close()


def is_due(done: int, trainer) -> bool:
    """True if figures are written after so many iterations."""
    period = trainer.cfg.TEST.EVAL_PERIOD
    is_evaluated = period > 0 and done % period == 0
    return done % _PERIOD == 0 or done == trainer.max_iter or is_evaluated


def history_of(storage: EventStorage) -> dict[str, tuple[bool, list[tuple[float, int]]]]:
    """What medians need of every scalar: if it is noisy, and its last values with iterations.

    The time of an iteration is that of its process, whose first ones have none.
    """
    hints = {name: hint for name, hint in storage.smoothing_hints().items() if name != "time"}
    return {name: (hints[name], storage.history(name).values()[-WINDOW:]) for name in hints}


def checked_history(history: dict) -> dict[str, tuple[bool, list[tuple[float, int]]]]:
    """A result of :func:`history_of` out of a file; whatever else it is fails somehow."""
    return {
        str(name): (bool(is_noisy), [(float(value), int(iteration)) for value, iteration in values])
        for name, (is_noisy, values) in history.items()
    }


def restore_history(storage: EventStorage, history: dict) -> None:
    """Put scalars of :func:`history_of`; without those that keep an earlier iteration's value."""
    for name, (is_noisy, values) in history.items():
        for value, iteration in values:
            if is_noisy or iteration == storage.iter:
                storage.put_scalar(name, value, is_noisy, cur_iter=iteration)
