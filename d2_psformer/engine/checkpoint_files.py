"""Which files of a folder training can be resumed from, and errors of writing them."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..checkpoint import DamagedFileError, read_checkpoint
from ..utils.errors import UserError

logger = logging.getLogger(__name__)

_FOR_USE_ALONE = "model_best.pth"  # has no optimizer


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
    """Path of the one that the file 'last_checkpoint' of a folder names, lost or not.

    Without such a file it is the newest checkpoint there; "" if there is none.
    """
    return _named(folder) or next(map(str, _newest_first(folder)), "")


def load_last(load: Callable[[str], dict], folder: str) -> dict:
    """Load the last checkpoint of a folder or, if it is lost or damaged, the newest whole one.

    Returns:
        What ``load(path)`` returns.

    Raises:
        UserError: the one of the last checkpoint if no other one is whole.
    """
    try:
        if named := _named(folder):
            return load(named)
        raise DamagedFileError(f"No file 'last_checkpoint' in '{folder}' names a checkpoint.")
    except DamagedFileError as error:
        for path in _newest_first(folder):
            with suppress(DamagedFileError):
                loaded = load(str(path))
                logger.warning("%s Going on from '%s', the newest whole one.", error, path)
                return loaded
        raise


def _named(folder: str) -> str:
    try:
        text = Path(folder, "last_checkpoint").read_text("utf-8", errors="replace").strip()
    except OSError:
        return ""
    return text and os.path.join(folder, os.path.basename(text))


def _newest_first(folder: str) -> list[Path]:
    """Checkpoints by their iterations: copies of files have other times than these."""
    paths = [path for path in Path(folder).glob("model_*.pth") if path.name != _FOR_USE_ALONE]
    return sorted(paths, key=_iteration, reverse=True)


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
