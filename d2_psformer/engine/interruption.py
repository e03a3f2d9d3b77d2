"""Ending a training that Ctrl-C or SIGTERM interrupts: a checkpoint, one sentence, exit status."""

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from ..d2.engine import HookBase
from ..d2.utils import comm

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Seconds in which a second signal counts as the first: a terminal and a launcher both send what
# the user has sent once.
_SAME_PRESS = 1.0
_NOTICE = b"\nInterrupted: saving a checkpoint after this iteration (again to end at once).\n"


class Interrupted(SystemExit):
    """The end of an interrupted training, with the exit status of the command."""


class Interruption(HookBase):
    """Ends training after the iteration in which any of its processes was interrupted.

    The exit status is that of a command which the signal has ended: 130 for Ctrl-C, 143 for
    SIGTERM. A second signal ends the process at once.
    """

    def __init__(self) -> None:
        self.received, self.moment = 0, 0.0
        self._handlers = ExitStack()

    def before_train(self) -> None:
        # PyTorch ends processes that it has started by SIGTERM when one of them has failed.
        is_started = multiprocessing.parent_process() is not None
        signals = SIGNALS[:1] if is_started else SIGNALS
        self._handlers.enter_context(handle_signals(self._receive, signals))

    def after_train(self) -> None:
        self._handlers.close()

    def after_step(self) -> None:
        received = max(comm.all_gather(self.received))
        if not received:
            return
        name, iteration = f"model_{self.trainer.iter:07d}", self.trainer.iter
        self.trainer.checkpointer.save(name, iteration=iteration)
        logger.warning(
            "Interrupted after iteration %d, which '%s' holds: continue with --resume.",
            iteration, os.path.join(self.trainer.cfg.OUTPUT_DIR, f"{name}.pth"),
        )  # fmt: skip
        raise Interrupted(128 + received)

    def _receive(self, number: int) -> None:
        if not self.received:
            self.received, self.moment = number, time.monotonic()
            if comm.is_main_process():  # a logger could be in the middle of a line
                with suppress(OSError):
                    os.write(2, _NOTICE)
        elif time.monotonic() - self.moment > _SAME_PRESS:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)


@contextmanager
def handle_signals(receive: Callable[[int], None], signals: Iterable[int]) -> Iterator[None]:
    """Call ``receive`` with the number of every one of these signals that is not ignored.

    Outside of the main thread, where Python allows no handlers, nothing changes.
    """
    earlier = {}
    if threading.current_thread() is threading.main_thread():
        found = {number: signal.getsignal(number) for number in signals}
        earlier = {n: handler for n, handler in found.items() if handler != signal.SIG_IGN}
    for number in earlier:
        signal.signal(number, lambda number, frame: receive(number))
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


@contextmanager
def pass_signals_on() -> Iterator[list[int]]:
    """Send SIGINT, also for SIGTERM, to the processes that this one has started.

    Returns:
        Those so far.
    """
    received: list[int] = []

    def receive(number: int) -> None:
        received.append(number)
        for child in multiprocessing.active_children():
            os.kill(child.pid, signal.SIGINT)

    with handle_signals(receive, SIGNALS):
        yield received
