"""What a worker process of a data loader does besides loading."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.util import Finalize

from torch.utils.data import DataLoader

from ..utils.errors import CarriedError, UserError, is_user_error
from ..utils.parent import end_with_parent
from .interruption import STOPPING


class EndWithParent:
    """A ``worker_init_fn``: the worker ends when the process that made this object has ended.

    It ignores Ctrl-C, which a terminal sends to it too, and survives SIGTERM and SIGUSR1 for a
    minute: an interrupted training finishes its iteration.

    PyTorch's own watch begins when a worker has started. A process that dies before, as one of
    several does when another fails, would leave its workers behind.

    Args:
        seconds: from one look to the next.
    """

    def __init__(self, seconds: float = 1.0):
        self.parent, self.seconds = os.getpid(), seconds

    def __call__(self, worker_id: int) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for number in STOPPING - {signal.SIGINT}:
            signal.signal(number, lambda *_: signal.alarm(60))
        end_with_parent(self.parent, self.seconds)


class CarryingMapper:
    """A mapper that returns an error which a user can fix in place of a sample.

    PyTorch would carry its text alone to the process of the loader.
    """

    def __init__(self, mapper: Callable[[dict], dict]):
        self.mapper = mapper

    def __call__(self, record: dict) -> dict | CarriedError:
        try:
            return self.mapper(record)
        except Exception as error:
            if not is_user_error(error):
                raise
            return CarriedError(error)


class RaisingLoader(DataLoader):
    """A loader of batches (lists of samples) that raises the errors of :class:`CarryingMapper`."""

    def __init__(self, *args, **options):
        super().__init__(*args, collate_fn=list, worker_init_fn=EndWithParent(), **options)
        # This process would send SIGTERM at its end, which they survive, and wait for them.
        Finalize(None, _kill_workers, exitpriority=1)

    def __iter__(self) -> Iterator[list[dict]]:
        for batch in super().__iter__():
            for sample in batch:
                if isinstance(sample, CarriedError):
                    sample.throw()
            yield batch


def _kill_workers() -> None:
    """Run when the process ends, in its main thread."""
    if hasattr(signal, "SIGCHLD"):  # PyTorch's handler raises that a worker was killed
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for child in multiprocessing.active_children():
        if child.daemon:
            child.kill()


@contextmanager
def naming_dead_workers() -> Iterator[None]:
    """Raise UserError if a worker dies in this block, which PyTorch notices anywhere in it."""
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise UserError(
            f"{str(error).partition('. ')[0]}: if memory ran out, lower DATALOADER.NUM_WORKERS, or "
            "enlarge /dev/shm; a training continues with --resume."
        ) from error
