"""Ending a training that a signal interrupts: a checkpoint, one sentence, exit status."""

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from ..d2.engine import HookBase
from ..d2.utils import comm

logger = logging.getLogger(__name__)

# What starts jobs before others, or ends them at a time limit, sends one of the last two.
STOPPING = {signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGUSR1", signal.SIGTERM)}
# What a process sends to those that it has started: none is ignored in the background of a script,
# as SIGINT is, and PyTorch ends processes by SIGTERM when one of them has failed.
_PASSED_ON = getattr(signal, "SIGUSR1", signal.SIGINT)
# Seconds in which a second signal counts as the first: a terminal and a launcher both send what
# the user has sent once.
_SAME_PRESS = 1.0
_NOTICE = b"\nInterrupted: saving a checkpoint after this iteration (again to end at once).\n"


class Interrupted(SystemExit):
    """The end of an interrupted training, with the exit status of the command.

    Args:
        together: all processes end at the same point, so that they can wait for each other.
    """

    def __init__(self, status: int, together: bool = True):
        super().__init__(status)
        self.together = together


class Interruption(HookBase):
    """Ends training after the iteration in which any of its processes was interrupted.

    An evaluation ends at once, after a checkpoint of its iteration; the resumed run makes up for
    it. The exit status is that of a command which the signal has ended: 130 for Ctrl-C, 143 for
    SIGTERM, 138 for SIGUSR1. A second signal ends the process at once.
    """

    def __init__(self) -> None:
        self.received, self.moment = 0, 0.0
        self._is_evaluating = False

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Receive the signals in this block, which is the training."""
        # PyTorch ends processes that it has started by SIGTERM when one of them has failed.
        is_started = multiprocessing.parent_process() is not None
        with handle_signals(self._receive, STOPPING - ({signal.SIGTERM} if is_started else set())):
            yield

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """An evaluation, which every process leaves by itself: some wait for others in it."""
        self._is_evaluating = True
        try:
            if self.received:
                raise Interrupted(128 + self.received)
            yield
        except (Exception, Interrupted):
            self._is_evaluating = False
            if not self.received:
                raise
            # An error is that another process is gone.
            self._save_and_end("in the evaluation after", together=comm.get_world_size() == 1)
        finally:
            self._is_evaluating = False

    def after_step(self) -> None:
        received = max(comm.all_gather(self.received))  # a signal may come during that
        if received:
            self.received = received
            self._save_and_end("after", together=True)

    def _save_and_end(self, when: str, *, together: bool) -> None:
        trainer = self.trainer
        name, iteration = f"model_{trainer.iter:07d}", trainer.iter
        if trainer.start_iter <= iteration < trainer.max_iter:  # else there is one already
            trainer.checkpointer.save(name, iteration=iteration)
        logger.warning(
            "Interrupted %s iteration %d, which the last checkpoint in '%s' holds: continue with "
            "--resume.",
            when, min(iteration, trainer.max_iter - 1), trainer.cfg.OUTPUT_DIR,
        )  # fmt: skip
        raise Interrupted(128 + self.received, together)

    def _receive(self, number: int) -> None:
        if not self.received:
            self.received, self.moment = number, time.monotonic()
            if comm.is_main_process():  # a logger could be in the middle of a line
                with suppress(OSError):
                    os.write(2, _NOTICE)
            if self._is_evaluating:
                raise Interrupted(128 + number)
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
    """Send one signal, whichever comes, to the processes that this one has started.

    Before the first of them it ends this process: one that is being started ends with it.

    Returns:
        Those received so far.
    """
    received: list[int] = []

    def receive(number: int) -> None:
        received.append(number)
        children = multiprocessing.active_children()
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child.pid, _PASSED_ON)
        if not children:
            sys.exit(128 + number)

    with handle_signals(receive, STOPPING):
        yield received
