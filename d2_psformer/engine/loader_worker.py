"""What a worker process of a data loader does besides loading."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.util import Finalize

from torch.utils.data import DataLoader

from ..utils.errors import CarriedError, UserError, is_user_error, sentence_of
from ..utils.parent import end_with_parent
from ..utils.wording import counted
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
    """A loader of batches (lists of samples) that raises the errors of :class:`CarryingMapper`.

    Args:
        limit: samples with an error that are left out before one is raised.

    Attributes:
        left_out: their errors as sentences, since the loader was last begun.
    """

    def __init__(self, *args, limit: int = 0, **options):
        super().__init__(*args, collate_fn=list, worker_init_fn=EndWithParent(), **options)
        self.limit = limit
        self.left_out: list[str] = []
        # This process would send SIGTERM at its end, which they survive, and wait for them.
        Finalize(None, _kill_workers, exitpriority=1)

    def __iter__(self) -> Iterator[list[dict]]:
        self.left_out.clear()
        for batch in super().__iter__():
            for sample in batch:
                if isinstance(sample, CarriedError):
                    self._leave_out(sample)
            if read := [sample for sample in batch if not isinstance(sample, CarriedError)]:
                yield read

    def _leave_out(self, sample: CarriedError) -> None:
        if not self.limit:
            sample.throw()
        self.left_out.append(sentence_of(sample.error))
        check_skips(len(self.left_out), self.limit, self.left_out[-1])


def check_skips(count: int, limit: int, last: str) -> None:
    """Check that not too many images were left out.

    Args:
        limit: DATALOADER.MAX_SKIPPED.
        last: the error of one image.

    Raises:
        UserError: they are more than the limit.
    """
    if count > limit:
        raise UserError(
            f"{counted(count, 'image')} cannot be read, but DATALOADER.MAX_SKIPPED is {limit}; the "
            f"last one: {last}"
        )


def _kill_workers() -> None:
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
