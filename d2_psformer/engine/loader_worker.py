"""What a worker process of a data loader does besides loading."""

import os
import threading
import time


class EndWithParent:
    """A ``worker_init_fn``: the worker ends when the process that made this object has ended.

    PyTorch's own watch begins when a worker has started. A process that dies before, as one of
    several does when another fails, would leave its workers behind for good.
    """

    def __init__(self, seconds: float = 1.0):
        """
        Args:
            seconds: from one look to the next.
        """
        self.parent, self.seconds = os.getpid(), seconds

    def __call__(self, worker_id: int) -> None:
        threading.Thread(target=self._watch, name="EndWithParent", daemon=True).start()

    def _watch(self) -> None:
        while os.getppid() == self.parent:
            time.sleep(self.seconds)
        os._exit(1)  # at once: nobody is left to tell
