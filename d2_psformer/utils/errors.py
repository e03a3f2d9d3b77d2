"""The errors that a user can fix, and how they get from one process to another."""

import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from difflib import get_close_matches
from typing import NoReturn
from unicodedata import category

# Unicode's categories of control characters, surrogates, line and paragraph separators.
_ESCAPED = {"Cc", "Cs", "Zl", "Zp"}


class UserError(ValueError):
    """Bad input, described in one sentence that names the file, key or category at fault.

    Commands print the sentence alone. Every other error is a bug and keeps its traceback.
    Line breaks and other control characters, which names in a file can have, are shown escaped.
    """

    def __init__(self, message: str):
        super().__init__(on_one_line(message))


class DamagedFileError(UserError):
    """A file is lost, or cannot be read as a weight file."""


class NotFiniteError(UserError):
    """NaN or infinity in an image, a matching cost, a loss or a gradient.

    SOLVER.MAX_BAD_STEPS lets training leave out a few steps that end with it.
    """


_put_off: ContextVar[list[NotFiniteError] | None] = ContextVar("_put_off", default=None)


@contextmanager
def put_off_not_finite() -> Iterator[list[NotFiniteError]]:
    """Collect what :func:`raise_not_finite` would raise in this block, which goes on.

    The processes of a training exchange numbers all along a step: one cannot leave it alone.
    """
    errors: list[NotFiniteError] = []
    token = _put_off.set(errors)
    try:
        yield errors
    finally:
        _put_off.reset(token)


def raise_not_finite(message: str) -> None:
    """Raise NotFiniteError, unless that is put off."""
    error, errors = NotFiniteError(message), _put_off.get()
    if errors is None:
        raise error
    errors.append(error)


def is_user_error(error: BaseException) -> bool:
    """True for a :class:`UserError` and for an error of the system about a named file."""
    return isinstance(error, UserError) or (
        isinstance(error, OSError) and error.filename is not None
    )


def sentence_of(error: BaseException) -> str:
    """The sentence of an error for which :func:`is_user_error` is true."""
    if isinstance(error, UserError):
        return str(error)
    return on_one_line(f"'{error.filename}': {error.strerror}.")


def on_one_line(text: str) -> str:
    """The text with control characters, line separators and lone surrogates as Python escapes."""
    return "".join(repr(x)[1:-1] if category(x) in _ESCAPED else x for x in text)


def check_known(what: str, name: str, known: Iterable[str]) -> None:
    """Check that a name is one of the known ones.

    Args:
        what: describes the name in the message, e.g. "MODEL.DEVICE".

    Raises:
        UserError: it is not; the message has the names like it, or a few of the known ones.
    """
    names = sorted(known)
    if name not in names:
        raise UserError(f"{what} {name!r} is unknown: use one of {near_names(name, names)}.")


def near_names(name: str, known: Iterable[str]) -> str:
    """The known names like one that is not known, else a few of them, with commas."""
    names = sorted(known)
    few = names if len(names) < 10 else [*names[:5], "..."]
    return ", ".join(get_close_matches(name, names) or few)


class CarriedError:
    """An error on its way to another process, with its traceback as text (a pickle has none)."""

    def __init__(self, error: BaseException):
        self.error = error
        self.text = "".join(traceback.format_exception(error))

    def throw(self) -> NoReturn:
        """Raise the error; its cause shows the traceback of the other process."""
        raise self.error from RuntimeError(f"In another process:\n\n{self.text}")
