"""One function over many items, in several processes or threads, with a progress bar."""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from typing import Any, TypeVar

from .errors import UserError
from .parent import end_with_parent
from .progress import progress

Item = TypeVar("Item")
Result = TypeVar("Result")

_WAITING = 16  # items a process that are read ahead
_worker: dict[str, Callable] = {}


def map_with_progress(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int,
    description: str,
    threads: bool = False,
) -> Iterator[Result]:
    """Yield ``function(item)`` in the order of the items; ``workers`` 0 works in this thread.

    Of an iterator few items are in memory at a time, and the bar shows no end.

    Args:
        threads: the workers are threads: less to start, for functions that release the GIL.

    Raises:
        UserError: a process has died.
    """
    total = len(items) if isinstance(items, Sized) else None
    if not workers:
        results = map(function, items)
    elif threads:
        results = _ahead(ThreadPoolExecutor(workers), function, items, 2 * workers)
    else:
        arguments = function, os.getpid()
        pool = ProcessPoolExecutor(workers, initializer=_start, initargs=arguments)
        results = _ahead(pool, _call, items, _WAITING * workers)
    yield from progress(results, total=total, desc=description, unit="image")


def _ahead(pool: Executor, function: Callable, items: Iterable, limit: int) -> Iterator[Any]:
    """Results of a pool, in order; at most ``limit`` of them wait."""
    waiting: deque[Future] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) == limit:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenExecutor as error:
        raise UserError(
            "A worker process died, as the system ends one when memory runs out: use fewer of "
            "them, or close other programs."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start(function: Callable, parent: int) -> None:
    """A process gets the function once, which may hold much; Ctrl-C is for the main process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(parent)
    _worker["function"] = function


def _call(item: Any) -> Any:
    return _worker["function"](item)
