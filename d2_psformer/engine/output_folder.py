"""OUTPUT_DIR belongs to one training at a time, and a new one takes no folder with results."""

import os
import socket
from pathlib import Path

from ..utils.errors import UserError
from ..utils.locks import lock, unlock
from .checkpoint_files import CHECKPOINTS
from .main_process import in_main_process

# What only a training that has begun leaves behind.
_RESULTS = (*CHECKPOINTS, "model_best.pth", "last_checkpoint", "metrics.json", "evaluations.json")
_held: dict[str, int] = {}  # folder -> its lock


def claim_folder(folder: str, resume: bool) -> None:
    """Make the folder and lock it for this process, until :func:`release_folder` or its end.

    All processes of a training call it together.

    Raises:
        UserError: another process trains into it, or it holds results and ``resume`` is false.
    """
    in_main_process(lambda: _claim(folder, resume))


def release_folder(folder: str) -> None:
    """Let other processes train into the folder, if this one has claimed it."""
    file = _held.pop(os.path.realpath(folder), None)
    if file is not None:
        unlock(file)


def _claim(folder: str, resume: bool) -> None:
    found = [path for name in _RESULTS for path in Path(folder).glob(name)]
    if found and not resume:
        raise UserError(
            f"OUTPUT_DIR '{folder}' holds a training already ({found[0].name}): go on by --resume "
            f"(in Python resume=True), or name a free folder, as OUTPUT_DIR {_free(folder)}."
        )
    try:
        os.makedirs(folder, exist_ok=True)
        if os.path.realpath(folder) not in _held:
            _lock(folder)
    except OSError as error:
        raise UserError(
            f"OUTPUT_DIR '{folder}' cannot be written to ({error.strerror}): name another folder."
        ) from error
    for left_by_a_kill in Path(folder).glob(".*.tmp*"):  # see atomic_path
        left_by_a_kill.unlink(missing_ok=True)


def _lock(folder: str) -> None:
    file = Path(folder, ".lock")
    file.touch()
    try:
        _held[os.path.realpath(folder)] = lock(file)
    except BlockingIOError as error:
        holder = file.read_text(errors="replace").strip()
        raise UserError(
            f"Another training writes to OUTPUT_DIR '{folder}' ({holder or 'just started'}): wait "
            f"for its end, or name a free folder, as OUTPUT_DIR {_free(folder)}."
        ) from error
    file.write_text(f"process {os.getpid()} on {socket.gethostname()}\n")


def _free(folder: str) -> str:
    number = 2
    while os.path.exists(name := f"{os.path.normpath(folder)}-{number}"):
        number += 1
    return name
