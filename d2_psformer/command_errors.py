"""Errors that users can mend end a command in one sentence; other errors keep their traceback."""

import builtins
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# What our code raises on purpose, and (AssertionError) Detectron2 where a file is missing. Theirs
# are sentences too, though less often: hence the hint.
USER_ERRORS = (OSError, ValueError, KeyError, FloatingPointError, ImportError, AssertionError)
_SHOW_ALL = "D2_PSFORMER_TRACEBACK"


@contextmanager
def told_in_one_sentence() -> Iterator[None]:
    """End the process with "<command>: <sentence>" and status 1 if the block raises such an error.

    Works as a decorator too. ``D2_PSFORMER_TRACEBACK=1`` shows the traceback instead.
    """
    try:
        yield
    except Exception as error:
        sentence = sentence_of(error)
        if sentence is None or os.environ.get(_SHOW_ALL) == "1":
            raise
        path = Path(sys.argv[0])
        command = path.parent.name if path.name == "__main__.py" else path.name
        sys.exit(f"{command}: {sentence}\n({_SHOW_ALL}=1 shows where in the code.)")


def sentence_of(error: Exception) -> str | None:
    """What to tell the user, None if the error looks like a fault of the program."""
    kind, sentence = type(error), str(error).strip()
    if "Traceback (most recent call last)" in sentence:
        # From a worker of a data loader or a process of launch: all that is left of it is text.
        name, _, sentence = sentence.rpartition("\n")[2].partition(": ")
        builtin = getattr(builtins, name.replace("d2_psformer.utils.errors.User", "Value"), None)
        kind = builtin if isinstance(builtin, type) else kind
    elif isinstance(error, OSError) and error.filename:
        sentence = f"'{error.filename}': {error.strerror}."
    if not issubclass(kind, USER_ERRORS):
        return None
    # The text of a KeyError is in quotes.
    return (sentence[1:-1] if kind is KeyError else sentence) or None
