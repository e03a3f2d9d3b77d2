"""Which files of a folder training can be resumed from, and errors of writing them."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from ..checkpoint import read_checkpoint
from ..utils.errors import DamagedFileError, UserError

logger = logging.getLogger(__name__)

# Patterns of the names of those that a training can be resumed from: "model_best.pth" is for use.
CHECKPOINTS = ("model_final.pth", "model_[0-9]*.pth")


def check_exists(path: str) -> None:
    """
    Raises:
        DamagedFileError: the path of a checkpoint is neither "", nor a file, nor an address.
    """
    if path and "://" not in path and not os.path.isfile(path.partition("?")[0]):
        raise DamagedFileError(
            f"Checkpoint '{path}' does not exist: check MODEL.WEIGHTS or, when resuming, the name "
            "in the file 'last_checkpoint' of OUTPUT_DIR."
        )


def last_checkpoint(folder: str) -> str:
    """Path of the checkpoint that the file 'last_checkpoint' of a folder names.

    Where there is no such file, or no such checkpoint, it is the newest one of the folder instead.
    Where there is none of these either, it is the lost one or "".
    """
    named = _named(folder)
    return named if os.path.isfile(named) else next(_newest_first(folder), named)


def load_last(load: Callable[[str], dict], folder: str) -> dict:
    """Load the last checkpoint of a folder or, if it is lost or damaged, the newest whole one.

    Args:
        folder: :func:`last_checkpoint` finds one there.

    Returns:
        What ``load(path)`` returns.

    Raises:
        DamagedFileError: no checkpoint is whole; the message is about the last one.
    """
    named, failures = _named(folder), []
    for path in chain([named] if named else [], _newest_first(folder)):
        try:
            loaded = load(path)
        except DamagedFileError as error:
            failures.append(error)
            continue
        if path != named:
            why = failures[0] if failures else f"'{folder}' has no valid file 'last_checkpoint'."
            logger.warning("%s Going on from '%s', the newest whole one.", why, path)
        return loaded
    raise failures[0]


def _named(folder: str) -> str:
    try:
        text = Path(folder, "last_checkpoint").read_text("utf-8", errors="replace").strip()
    except OSError:
        return ""
    return text and os.path.join(folder, os.path.basename(text))


def _newest_first(folder: str) -> Iterator[str]:
    """Checkpoints by their iterations: copies of files have other times than these."""
    paths = [path for name in CHECKPOINTS for path in Path(folder).glob(name) if path.is_file()]
    yield from map(str, sorted(paths, key=_iteration, reverse=True))


def _iteration(path: Path) -> int:
    """The iteration in the name or, as "model_final.pth" has none there, in the file."""
    number = path.stem.removeprefix("model_")
    if number.isdecimal():
        return int(number)
    try:
        saved = read_checkpoint(str(path)).get("iteration")
    except UserError:
        return -1
    return saved if isinstance(saved, int) else -1


@contextmanager
def errors_of_the_system() -> Iterator[None]:
    """Raise the error of the system, as that of a full disk, which ``torch.save`` replaces."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise
