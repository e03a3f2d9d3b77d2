"""A loop over images that can be killed and goes on where it stopped."""

import json
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ...utils.parallel import map_with_progress

Item = TypeVar("Item")


def map_resumable(
    function: Callable[[Item], Any],
    items: Iterable[tuple[str, Item]],
    journal: Path,
    settings: str,
    *,
    workers: int,
    description: str,
    is_kept: Callable[[Any], bool],
) -> list[Any]:
    """``[function(item) for key, item in items]``, where results are kept in a file as they come.

    Args:
        function: returns a JSON value; runs in ``workers`` processes, or in this one for 0.
        items: pairs of a key, which differs for each item and changes with it, and the item.
        journal: the file, one line per result. It stays: remove it when all is done.
        settings: what else results depend on; the results of other settings are not used.
        description: of the progress bar.
        is_kept: false for a result whose files are gone.
    """
    done = {key: result for key, result in _finished(journal, settings) if is_kept(result)}
    keys = []

    def missing() -> Iterator[tuple[str, Item]]:
        for key, item in items:
            keys.append(key)
            if key not in done:
                yield key, item

    pairs = missing()
    if not isinstance(items, Iterator):  # the bar shows the end of a list
        pairs = list(pairs)
    journal.parent.mkdir(parents=True, exist_ok=True)
    with open(journal, "w", encoding="utf-8") as file:
        for entry in ({"settings": settings}, *done.items()):
            file.write(f"{json.dumps(entry)}\n")
        file.flush()
        call = partial(_with_key, function)
        for entry in map_with_progress(call, pairs, workers=workers, description=description):
            file.write(f"{json.dumps(entry)}\n")
            file.flush()
            done.update([entry])
    return [done[key] for key in keys]


def _with_key(function: Callable[[Item], Any], pair: tuple[str, Item]) -> tuple[str, Any]:
    key, item = pair
    return key, function(item)


def _finished(journal: Path, settings: str) -> Iterator[tuple[str, Any]]:
    """The results in a journal of these settings; a last line that is cut short is none."""
    if not journal.exists():
        return
    with open(journal, encoding="utf-8", errors="replace") as file:
        try:
            if json.loads(next(file, "null")) != {"settings": settings}:
                return
            for line in file:
                key, result = json.loads(line)
                yield key, result
        except ValueError:
            return
