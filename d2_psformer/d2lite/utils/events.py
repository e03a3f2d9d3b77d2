"""Scalars of a training: one storage, and writers to JSON and TensorBoard."""

from collections import defaultdict
from functools import cached_property, partial
from itertools import takewhile
from typing import Any

from fvcore.common.history_buffer import HistoryBuffer

_KEPT = 1000  # values of a scalar: a training of weeks would fill the memory with all
_active_storages: list["EventStorage"] = []


def get_event_storage() -> "EventStorage":
    """The innermost storage in use; raises AssertionError (as Detectron2 does) without one."""
    assert _active_storages, "get_event_storage() works inside 'with EventStorage(...):' only."
    return _active_storages[-1]


def has_event_storage() -> bool:
    """True if a storage is in use."""
    return bool(_active_storages)


class EventStorage:
    """Histories of named scalars, each value with its iteration; the last 1000 of each."""

    def __init__(self, start_iter: int = 0):
        self.iter = start_iter
        self._history: dict[str, HistoryBuffer] = defaultdict(partial(HistoryBuffer, _KEPT))
        self._smoothing_hints: dict[str, bool] = {}
        self._latest_scalars: dict[str, tuple[float, int]] = {}

    def step(self) -> None:
        """Go on to the next iteration."""
        self.iter += 1

    def put_scalar(
        self, name: str, value: Any, smoothing_hint: bool = True, cur_iter: int | None = None
    ) -> None:
        """Record a number; ``smoothing_hint`` lets writers show a median, as it is noisy."""
        iteration = self.iter if cur_iter is None else cur_iter
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

    def history(self, name: str) -> HistoryBuffer:
        """All values of a scalar; KeyError when it was never put."""
        if name not in self._history:
            raise KeyError(f"No scalar named '{name}' was put into this storage.")
        return self._history[name]

    def smoothing_hints(self) -> dict[str, bool]:
        """The hint of every scalar."""
        return self._smoothing_hints

    def latest(self) -> dict[str, tuple[float, int]]:
        """The last value of every scalar and its iteration."""
        return self._latest_scalars

    def latest_with_smoothing_hint(self, window_size: int = 20) -> dict[str, tuple[float, int]]:
        """As :meth:`latest`, with the median over the last iterations for noisy scalars."""
        return {
            name: (self._median(name, window_size) if self._smoothing_hints[name] else value, iter_)
            for name, (value, iter_) in self._latest_scalars.items()
        }

    def _median(self, name: str, window_size: int) -> float:
        """Median of the values of the last ``window_size`` iterations, which may be fewer."""
        values = self._history[name].values()
        first = values[-1][1] - window_size + 1
        # From the end, as the history of a long training is long.
        recent = takewhile(lambda value: value[1] >= first, reversed(values))
        return self._history[name].median(sum(1 for _ in recent))

    def __enter__(self) -> "EventStorage":
        _active_storages.append(self)
        return self

    def __exit__(self, *exc_info: object) -> None:
        assert _active_storages.pop() is self, "Event storages must be left innermost first."


class EventWriter:
    """Base class of writers, which write the new values of the current storage."""

    def write(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Release files."""


class TensorboardXWriter(EventWriter):
    """Writes scalars for TensorBoard; creates its file at the first write."""

    def __init__(self, log_dir: str, window_size: int = 20, **kwargs: Any):
        """
        Args:
            window_size: noisy scalars are written as medians over so many iterations.
            kwargs: arguments of ``torch.utils.tensorboard.SummaryWriter``.
        """
        self._window_size, self._last_write = window_size, -1
        self._writer_args = {"log_dir": log_dir, **kwargs}

    @cached_property
    def _writer(self) -> Any:
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(**self._writer_args)

    def write(self) -> None:
        latest = get_event_storage().latest_with_smoothing_hint(self._window_size)
        before = self._last_write
        for name, (value, iteration) in sorted(latest.items(), key=lambda item: item[1][1]):
            if iteration > before:
                self._writer.add_scalar(name, value, iteration)
                self._last_write = iteration

    def close(self) -> None:
        if "_writer" in self.__dict__:
            self._writer.close()
