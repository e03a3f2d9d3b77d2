"""One function over many items, in several processes, with a progress bar."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

from .progress import progress

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_with_progress(
    function: Callable[[Item], Result], items: Sequence[Item], *, workers: int, description: str
) -> Iterator[Result]:
    """Yield ``function(item)`` in the order of the items; ``workers`` 0 works in this process."""
    bar = {"total": len(items), "desc": description, "unit": "image"}
    if workers == 0:
        yield from progress(map(function, items), **bar)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from progress(pool.map(function, items, chunksize=16), **bar)
