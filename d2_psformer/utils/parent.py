"""Processes that end with the one that has started them, however it dies."""

import os
import threading
import time


def end_with_parent(parent: int, seconds: float = 1.0) -> None:
    """End this process, from a thread of its own, once its parent is another one.

    Signals of the system at a parent's death are for its thread, not its process, and only Linux
    has them.

    Args:
        parent: the process id of the parent, asked there: it may have died already.
        seconds: from one look to the next.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(seconds)
        os._exit(1)  # at once: no process is left that could be informed

    threading.Thread(target=watch, name="end_with_parent", daemon=True).start()
