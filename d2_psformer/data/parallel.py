"""One function over many files, in several processes, with a progress bar."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_with_progress(
    function: Callable[[Item], Result], items: Sequence[Item], *, workers: int, description: str
) -> Iterator[Result]:
    """Yield ``function(item)`` in the order of the items; ``workers`` 0 works in this process."""
    bar = tqdm(total=len(items), desc=description, unit="image", disable=None)
    with bar:
        for result in _results(function, items, workers):
            bar.update()
            yield result


def _results(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[Result]:
    if workers == 0:
        yield from map(function, items)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(function, items, chunksize=16)
