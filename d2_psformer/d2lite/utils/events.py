"""Scalars and images of a training: one storage, and writers to JSON, TensorBoard and terminal."""

import datetime
import json
import logging
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import takewhile
from typing import Any

import numpy as np
import torch
from fvcore.common.history_buffer import HistoryBuffer

from .file_io import PathManager

_active_storages: list["EventStorage"] = []


def get_event_storage() -> "EventStorage":
    """The innermost storage in use; raises AssertionError (as Detectron2 does) without one."""
    assert _active_storages, "get_event_storage() works inside 'with EventStorage(...):' only."
    return _active_storages[-1]


def has_event_storage() -> bool:
    """Whether a storage is in use."""
    return bool(_active_storages)


class EventStorage:
    """Histories of named scalars, each value with its iteration, and images to show."""

    def __init__(self, start_iter: int = 0):
        self.iter = start_iter
        self._history: dict[str, HistoryBuffer] = defaultdict(HistoryBuffer)
        self._smoothing_hints: dict[str, bool] = {}
        self._latest_scalars: dict[str, tuple[float, int]] = {}
        self._vis_data: list[tuple[str, Any, int]] = []
        self._prefix = ""

    @property
    def iter(self) -> int:
        """The current iteration, which new values are recorded under."""
        return self._iter

    @iter.setter
    def iter(self, value: int) -> None:
        self._iter = int(value)

    def step(self) -> None:
        """Go on to the next iteration."""
        self._iter += 1

    def put_scalar(
        self, name: str, value: Any, smoothing_hint: bool = True, cur_iter: int | None = None
    ) -> None:
        """Record a number; ``smoothing_hint`` tells writers to show a median, as it is noisy."""
        name = self._prefix + name
        iteration = self._iter if cur_iter is None else cur_iter
        known_hint = self._smoothing_hints.setdefault(name, smoothing_hint)
        assert known_hint == smoothing_hint, f"'{name}' was put with another smoothing_hint before."
        value = float(value)
        self._history[name].update(value, iteration)
        self._latest_scalars[name] = (value, iteration)

    def put_scalars(
        self, *, smoothing_hint: bool = True, cur_iter: int | None = None, **kwargs: Any
    ) -> None:
        """Record several numbers, given as keyword arguments."""
        for name, value in kwargs.items():
            self.put_scalar(name, value, smoothing_hint, cur_iter)

    def put_image(self, img_name: str, img_tensor: torch.Tensor | np.ndarray) -> None:
        """Record an RGB image (3,H,W), uint8 or float in [0, 1], for TensorBoard."""
        self._vis_data.append((img_name, img_tensor, self._iter))

    def clear_images(self) -> None:
        """Forget the images; the writer that showed them calls this."""
        self._vis_data = []

    def history(self, name: str) -> HistoryBuffer:
        """All values of a scalar; KeyError when it was never put."""
        if name not in self._history:
            raise KeyError(f"No scalar named '{name}' was put into this storage.")
        return self._history[name]

    def histories(self) -> dict[str, HistoryBuffer]:
        """All values of all scalars."""
        return self._history

    def smoothing_hints(self) -> dict[str, bool]:
        """Which scalars are noisy."""
        return self._smoothing_hints

    def latest(self) -> dict[str, tuple[float, int]]:
        """The last value of every scalar and its iteration."""
        return self._latest_scalars

    def latest_with_smoothing_hint(self, window_size: int = 20) -> dict[str, tuple[float, int]]:
        """As :meth:`latest`, with the median over the last iterations for noisy scalars."""
        return {
            name: (self.median(name, window_size) if self._smoothing_hints[name] else value, iter_)
            for name, (value, iter_) in self._latest_scalars.items()
        }

    def median(self, name: str, window_size: int = 20) -> float:
        """Median of a scalar over its last ``window_size`` iterations."""
        return self._history[name].median(self.count_samples(name, window_size))

    def count_samples(self, name: str, window_size: int = 20) -> int:
        """How many values a scalar got in its last ``window_size`` iterations."""
        values = self.history(name).values()
        first = values[-1][1] - window_size + 1
        # From the end, as the history of a long training is long.
        return sum(1 for _ in takewhile(lambda value: value[1] >= first, reversed(values)))

    @contextmanager
    def name_scope(self, name: str) -> Iterator[None]:
        """Put ``name/`` before the names of all scalars put inside."""
        outer = self._prefix
        self._prefix = name.rstrip("/") + "/"
        try:
            yield
        finally:
            self._prefix = outer

    def __enter__(self) -> "EventStorage":
        _active_storages.append(self)
        return self

    def __exit__(self, *exc_info: object) -> None:
        assert _active_storages.pop() is self, "Event storages must be left innermost first."


class EventWriter:
    """Takes what is new in the current storage somewhere, at every :meth:`write`."""

    def write(self) -> None:
        """Write what is new."""
        raise NotImplementedError

    def close(self) -> None:
        """Release files."""


class JSONWriter(EventWriter):
    """Appends scalars to a file, one JSON object a line for every iteration that has new ones."""

    def __init__(self, json_file: str, window_size: int = 20):
        self._file = PathManager.open(json_file, "a")
        self._window_size = window_size
        self._last_write = -1

    def write(self) -> None:
        """Append a line ``{"iteration": i, name: value, ...}`` per iteration, in order."""
        lines: dict[int, dict[str, float]] = defaultdict(dict)
        latest = get_event_storage().latest_with_smoothing_hint(self._window_size)
        for name, (value, iteration) in latest.items():
            if iteration > self._last_write:
                lines[iteration][name] = value
        for iteration in sorted(lines):
            line = {**lines[iteration], "iteration": iteration}
            self._file.write(json.dumps(line, sort_keys=True) + "\n")
            self._last_write = iteration
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class TensorboardXWriter(EventWriter):
    """Writes scalars and images for TensorBoard; makes its file at the first write."""

    def __init__(self, log_dir: str, window_size: int = 20, **kwargs: Any):
        """``kwargs`` go to ``torch.utils.tensorboard.SummaryWriter``."""
        self._window_size = window_size
        self._writer_args = {"log_dir": log_dir, **kwargs}
        self._last_write = -1

    @cached_property
    def _writer(self) -> Any:
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(**self._writer_args)

    def write(self) -> None:
        """Write new scalars, and images, which are taken out of the storage."""
        storage = get_event_storage()
        newest = self._last_write
        latest = storage.latest_with_smoothing_hint(self._window_size)
        for name, (value, iteration) in latest.items():
            if iteration > self._last_write:
                self._writer.add_scalar(name, value, iteration)
                newest = max(newest, iteration)
        self._last_write = newest
        for name, image, iteration in storage._vis_data:
            self._writer.add_image(name, image, iteration)
        storage.clear_images()

    def close(self) -> None:
        """Close the file, if there is one."""
        if "_writer" in self.__dict__:
            self._writer.close()


class CommonMetricPrinter(EventWriter):
    """Logs one line: ETA, iteration, losses, metrics, times, learning rate and GPU memory."""

    def __init__(self, max_iter: int | None = None, window_size: int = 20):
        """Without ``max_iter`` no ETA is shown; losses are medians over ``window_size``."""
        self.logger = logging.getLogger(__name__)
        self._max_iter = max_iter
        self._window_size = window_size
        self._last_write: tuple[int, float] | None = None

    def write(self) -> None:
        """Log the line; nothing once the last iteration is over."""
        storage = get_event_storage()
        if storage.iter == self._max_iter:
            return
        eta = self._eta(storage)
        parts = [f"eta: {eta}"] if eta else []
        parts.append(f"iter: {storage.iter}")
        for mark in ("loss", "[metric]"):
            parts += [
                f"{name}: {storage.median(name, self._window_size):.4g}"
                for name in storage.histories()
                if mark in name
            ]
        parts += self._times(storage)
        known = storage.latest()
        parts.append(f"lr: {known['lr'][0]:.5g}" if "lr" in known else "lr: N/A")
        if torch.cuda.is_available():
            parts.append(f"max_mem: {torch.cuda.max_memory_allocated() / 2**20:.0f}M")
        self.logger.info(" " + "  ".join(parts))

    def _times(self, storage: EventStorage) -> list[str]:
        """Seconds per iteration, whole and spent waiting for data: average and last."""
        texts = []
        latest = storage.latest()
        if "time" in latest:
            average = storage.history("time").global_avg()
            texts += [f"time: {average:.4f}", f"last_time: {latest['time'][0]:.4f}"]
        if "data_time" in latest:
            count = storage.count_samples("data_time", self._window_size)
            average = storage.history("data_time").avg(count)
            texts += [f"data_time: {average:.4f}", f"last_data_time: {latest['data_time'][0]:.4f}"]
        return texts

    def _eta(self, storage: EventStorage) -> str | None:
        """Time left, from the "time" scalar, or from the clock while that is missing."""
        if self._max_iter is None:
            return None
        left = self._max_iter - storage.iter - 1
        if "time" in storage.latest():
            seconds = storage.history("time").median(1000) * left
            storage.put_scalar("eta_seconds", seconds, smoothing_hint=False)
        else:
            previous, self._last_write = self._last_write, (storage.iter, time.perf_counter())
            if previous is None or storage.iter <= previous[0]:
                return None
            seconds = (self._last_write[1] - previous[1]) / (storage.iter - previous[0]) * left
        return str(datetime.timedelta(seconds=int(seconds)))
