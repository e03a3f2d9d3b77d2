"""The line of figures that training logs."""

import logging
import re
import sys
from collections.abc import Iterator
from datetime import timedelta

import torch

from ..d2.utils import EventStorage, EventWriter, get_event_storage

_AUXILIARY = re.compile(r"_\d+$")  # losses of other layers than the last, e.g. loss_class_3
_SHOWN = ("class_score", "mask_dice", "grad_norm")


class MetricPrinter(EventWriter):
    """Logs one line: time left, iteration, losses of the last layers, metrics, times, rate, memory.

    All scalars, the losses of every layer included, are in ``metrics.json`` and TensorBoard.

    Args:
        window_size: iterations over which medians of losses and metrics are taken.
    """

    def __init__(self, max_iter: int, window_size: int = 20):
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
