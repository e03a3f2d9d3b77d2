"""Wrong values in place of those of nested lists and dicts, as JSON and YAML hold them."""

import copy
import math
import random
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.data import check_dataset
from d2_psformer.utils.errors import UserError

VALUES = (
    *(None, True, False, [], {}, "", "0", "x", "3.5", "../../etc/passwd", "a\0b", "é" * 300),
    *(-1, 0, 1, 2, 1.5, -0.0, math.nan, math.inf, -math.inf, 1e308, 2**31, 2**63, 2**70, 10**400),
    *([[]], [None], [[[]]], [0, 0], [1, 2, 3, 4], [math.nan] * 4, {"a": 1}, {"": None}),
)


def places(value: Any, way: tuple = ()) -> list[tuple]:
    """Where values are, as tuples of keys and indices; the whole is ()."""
    found = [way]
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    for key, inner in items:
        found += places(inner, (*way, key))
    return found


def at(value: Any, way: tuple) -> Any:
    for step in way:
        value = value[step]
    return value


def changed(content: Any, seed: int) -> tuple[Any, list[str]]:
    """A copy with one to three values replaced, removed, doubled, moved or renamed.

    Returns:
        the copy, and what was done to it in words.
    """
    chance, content, done = random.Random(seed), copy.deepcopy(content), []
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        every = places(content)
        way = chance.choice(every)
        how = chance.choice(("replace",) * 5 + ("remove", "double", "move", "rename"))
        other = copy.deepcopy(at(content, chance.choice(every)))
        done.append(f"{how} {way}")
        if not way:
            if how == "replace" and chance.random() < 0.3:
                return copy.deepcopy(chance.choice(VALUES)), done
            continue
        inner, key = at(content, way[:-1]), way[-1]
        if how == "remove":
            del inner[key]
        elif how == "double" and isinstance(inner, list):
            inner.insert(key, copy.deepcopy(inner[key]))
        elif how == "rename" and isinstance(inner, dict):
            inner[key.upper() if isinstance(key, str) else str(key)] = inner.pop(key)
        else:
            inner[key] = other if how == "move" else copy.deepcopy(chance.choice(VALUES))
            done[-1] += f": {inner[key]!r:.60}"
    return content, done


def forget(*names: str) -> None:
    """Take data sets out of the catalogs that have them."""
    for catalog in (DatasetCatalog, MetadataCatalog):
        for name in names:
            if name in catalog.list():
                catalog.remove(name)


def check_registered(name: str) -> None:
    """
    Raises:
        UserError: the first fault of a data set.
    """
    if faults := check_dataset(name).faults:
        raise UserError(faults[0])


@contextmanager
def one_sentence(*named: Path | str) -> Iterator[None]:
    """Lets through errors that are one sentence and name one of these; no warning is allowed."""
    with warnings.catch_warnings(record=True) as caught:
        try:
            yield
        except UserError as error:
            text = str(error)
            assert "\n" not in text
            assert len(text) < 1000
            assert any(str(name) in text for name in named), text
    assert [str(w) for w in caught if not issubclass(w.category, DeprecationWarning)] == []


def try_all(attempts: Iterable[Callable[[], object]], *named: Path | str) -> None:
    """Each of them may end in one sentence that names one of these."""
    for attempt in attempts:
        with one_sentence(*named):
            attempt()
