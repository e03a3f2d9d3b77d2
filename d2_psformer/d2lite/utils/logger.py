"""Logging to the terminal and to ``log.txt``."""

import functools
import logging
import os
import sys
from typing import TextIO

from termcolor import colored

from .file_io import PathManager

_ROOT = __name__.rpartition(".utils.")[0]
_TIME_FORMAT = "%m/%d %H:%M:%S"


class _ColorfulFormatter(logging.Formatter):
    """Time and logger name in green, WARNING and ERROR in red, the root's name abbreviated."""

    def __init__(self, root_name: str, abbrev_name: str):
        super().__init__(
            colored("[%(asctime)s %(name)s]: ", "green") + "%(message)s", datefmt=_TIME_FORMAT
        )
        self._root = root_name + "."
        self._abbreviation = abbrev_name + "." if abbrev_name else ""

    def format(self, record: logging.LogRecord) -> str:
        # A copy: other handlers get the record with its full name.
        record = logging.makeLogRecord(record.__dict__)
        record.name = record.name.replace(self._root, self._abbreviation, 1)
        text = super().format(record)
        if record.levelno < logging.WARNING:
            return text
        return f"{colored(record.levelname, 'red', attrs=['bold'])} {text}"


@functools.cache  # A second call must not add handlers again.
def setup_logger(
    output: str | None = None,
    distributed_rank: int = 0,
    *,
    color: bool = True,
    name: str = _ROOT,
    abbrev_name: str | None = None,
    enable_propagation: bool = False,
) -> logging.Logger:
    """Send the messages of logger ``name`` to the terminal (process 0) and to a file (all).

    Args:
        output: a ``.txt`` or ``.log`` file, or a folder in which ``log.txt`` is written; processes
            other than 0 append ``.rankN``. None for no file.
        abbrev_name: short form of ``name`` on the terminal; default ``d2`` for this runtime.
    """
    logger = logging.getLogger(name)
    logger.setLevel(logging.DEBUG)
    logger.propagate = enable_propagation
    if abbrev_name is None:
        abbrev_name = "d2" if name == _ROOT else name
    plain = logging.Formatter(
        "[%(asctime)s] %(name)s %(levelname)s: %(message)s", datefmt=_TIME_FORMAT
    )
    if distributed_rank == 0:
        terminal = logging.StreamHandler(sys.stdout)
        terminal.setFormatter(_ColorfulFormatter(name, abbrev_name) if color else plain)
        logger.addHandler(terminal)
    if output is not None:
        is_file = output.endswith((".txt", ".log"))
        path = output if is_file else os.path.join(output, "log.txt")
        if distributed_rank > 0:
            path += f".rank{distributed_rank}"
        file = logging.StreamHandler(_open_log(path))
        file.setFormatter(plain)
        logger.addHandler(file)
    return logger


@functools.cache  # Loggers that share a file share its stream.
def _open_log(path: str) -> TextIO:
    PathManager.mkdirs(os.path.dirname(path) or ".")
    return PathManager.open(path, "a")
