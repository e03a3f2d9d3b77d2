"""Which files of a folder training can be resumed from, and errors of writing them."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..checkpoint import DamagedFileError

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


def load_last(load: Callable[[str], dict], last: str, folder: str) -> dict:
    """Load ``last`` or, if it is lost or damaged, the newest whole checkpoint of the folder.

    Returns:
        What ``load(path)`` returns.

    Raises:
        UserError: the one of ``last`` if no checkpoint is whole.
    """
    try:
        return load(last)
    except DamagedFileError as error:
        paths = [path for path in Path(folder).glob("model_*.pth") if path.name != _FOR_USE_ALONE]
        for path in sorted(paths, key=lambda path: path.stat().st_mtime_ns, reverse=True):
            with suppress(DamagedFileError):
                loaded = load(str(path))
                logger.warning("%s Going on from '%s', the newest whole one.", error, path)
                return loaded
        raise


@contextmanager
def errors_of_the_system() -> Iterator[None]:
    """Raise the error of the system, as that of a full disk, which ``torch.save`` replaces."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise
