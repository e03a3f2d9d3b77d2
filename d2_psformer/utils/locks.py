"""Locks of files and folders, which end with the process that has them, however it dies."""

import errno
import os

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None

_held: set[int] = set()


def lock(path: str | os.PathLike) -> int:
    """Lock a file or folder for this process, until :func:`unlock` or its end.

    Nothing happens where the system or the file system has no locks.

    Returns:
        What to give to :func:`unlock`.

    Raises:
        BlockingIOError: another process has the lock.
    """
    if not fcntl:
        return -1
    file = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            os.close(file)
            raise BlockingIOError(error.errno, error.strerror, str(path)) from error
    _held.add(file)
    return file


def unlock(held: int) -> None:
    """Give up a lock."""
    if held in _held:
        _held.remove(held)
        os.close(held)


def _forget() -> None:
    """Leave the locks to the process that has them, so that they end with it."""
    for file in [*_held]:
        unlock(file)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
