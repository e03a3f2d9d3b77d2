"""One function over many items, in several processes, with a progress bar."""

import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any, TypeVar

from .progress import progress

Item = TypeVar("Item")
Result = TypeVar("Result")

_WAITING = 16  # items a process that are read ahead
_worker: dict[str, Callable] = {}


def map_with_progress(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int, description: str
) -> Iterator[Result]:
    """Yield ``function(item)`` in the order of the items; ``workers`` 0 works in this process.

    Of an iterator few items are in memory at a time, and the bar shows no end.
    """
    total = len(items) if isinstance(items, Sized) else None
    results = _in_processes(function, items, workers) if workers else map(function, items)
    yield from progress(results, total=total, desc=description, unit="image")


def _in_processes(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[Result]:
    waiting: deque[Future] = deque()
    pool = ProcessPoolExecutor(workers, initializer=_start, initargs=(function,))
    try:
        for item in items:
            waiting.append(pool.submit(_call, item))
            if len(waiting) == _WAITING * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _start(function: Callable) -> None:
    """A process gets the function once, which may hold much; Ctrl-C is for the main process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _worker["function"] = function


def _call(item: Any) -> Any:
    return _worker["function"](item)
