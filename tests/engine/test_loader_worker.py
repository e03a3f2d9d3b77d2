"""Workers of a data loader end with the process that they work for, however early that dies."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# The parent dies while its worker starts, before PyTorch looks who the parent is.
PROGRAM = """
import os, signal, sys, time
from torch.utils.data import DataLoader
from d2_psformer.engine.loader_worker import EndWithParent

class AfterItsDeath(EndWithParent):
    def __call__(self, worker_id):
        sys.stdout.write(f"{os.getpid()}")
        sys.stdout.flush()
        os.kill(self.parent, signal.SIGKILL)
        while os.getppid() == self.parent:
            time.sleep(0.01)
        super().__call__(worker_id)

next(iter(DataLoader(range(9), num_workers=1, worker_init_fn=AfterItsDeath(0.1))))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="processes are not killed so here")
def test_workers_of_a_dead_process_end():
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        # the worker holds the other end too: this returns when both are gone
        worker = process.communicate(timeout=60)[0]
    except subprocess.TimeoutExpired as error:
        os.kill(int(error.stdout), signal.SIGKILL)
        pytest.fail("The worker goes on without its parent.")
    assert process.returncode == -signal.SIGKILL
    assert worker.isdigit()


# An iterator is alive at the end, as the traceback of an error keeps it; the signal that a worker
# has ended comes during the sleep.
KILLING = """
import time
from multiprocessing.util import Finalize
from d2_psformer.engine.loader_worker import RaisingLoader

iterator = iter(RaisingLoader(range(9), num_workers=1))
next(iterator)
Finalize(None, time.sleep, (0.5,), exitpriority=0)
"""


def test_the_end_of_a_process_is_quiet():
    done = subprocess.run(
        [sys.executable, "-c", KILLING], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
