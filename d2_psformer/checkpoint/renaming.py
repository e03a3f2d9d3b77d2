"""Tables that rename parameters."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor

from ..utils.errors import UserError

# Regular expressions and what takes their place, applied one after the other.
Renames = list[tuple[str, str | Callable[[re.Match], str]]]
# Beginnings of names, whole modules, as regular expressions: what takes their place, and what is
# renamed behind them.
Parts = dict[str, tuple[str, Renames]]


def substitute(name: str, renames: Renames) -> str:
    """Apply every rename."""
    for pattern, new in renames:
        name = re.sub(pattern, new, name)
    return name


def rename_part(name: str, parts: Parts) -> str | None:
    """The new name by the first part that ``name`` is in; None if it is in none."""
    for pattern, (new, inner) in parts.items():
        if match := re.match(rf"{pattern}(?=\.|$)", name):
            return match.expand(new) + substitute(name[match.end() :], inner)
    return None


def rename_all(state_dict: dict[str, Tensor], parts: Parts, whose: str) -> dict[str, Tensor]:
    """The parameters under their new names.

    Raises:
        UserError: a name that is in none of the parts, so no parameter of ``whose``.
    """
    renamed = {}
    for key, value in state_dict.items():
        name = rename_part(key, parts)
        if name is None:
            raise UserError(f"'{key}' is no parameter of {whose}.")
        renamed[name] = value
    return renamed


@contextmanager
def reshaping(name: str, value: Tensor) -> Iterator[None]:
    """A shape that does not go through the block is one sentence.

    Raises:
        UserError: names the parameter and its shape.
    """
    try:
        yield
    except (IndexError, RuntimeError, TypeError) as error:
        raise UserError(
            f"'{name}' has the shape {tuple(value.shape)}: is it another model's?"
        ) from error


def plus(pattern: str, by: int) -> Callable[[re.Match], str]:
    """Put the first number of a match, plus ``by``, into ``pattern``; its second group follows."""
    return lambda match: pattern.format(int(match[1]) + by, *match.groups()[1:])
