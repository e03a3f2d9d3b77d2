"""No process outlives the one that has started it, and one that dies is named."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest
from dummy_processes import (
    ROOT,
    children_of,
    start_script,
    wait_for_end_of_group,
)

TWO = ("--num-gpus", "2")
ENDLESS = ("SOLVER.MAX_ITER", "1000000", "DATALOADER.NUM_WORKERS", "1")


@pytest.fixture
def start(tmp_path):
    """Start an endless training, whatever becomes of it."""
    started = []

    def run(*flags: str, launcher=()) -> subprocess.Popen:
        started.append(start_script(tmp_path, *ENDLESS, flags=flags, launcher=launcher))
        return started[-1]

    yield run
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def ranks_of(process: subprocess.Popen) -> list[int]:
    return [pid for pid, args in children_of(process.pid).items() if "spawn_main" in args]


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("--ignore-int",)])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_ranks_end_with_their_launcher(start, tmp_path, flags, number):
    if flags and number == signal.SIGINT:
        pytest.skip("it is ignored")
    process = start(*TWO, *flags)
    assert len(ranks_of(process)) == 2
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    wait_for_end_of_group(process.pid, seconds=10)
    assert process.returncode == (-number if number == signal.SIGKILL else 128 + number)
    if number != signal.SIGKILL:
        assert "Traceback" not in output + errors
        assert (tmp_path / "last_checkpoint").is_file()


@pytest.mark.slow
def test_ranks_end_with_torchrun(start):
    options = ("--standalone", "--nproc-per-node", "2")
    process = start(launcher=("-m", "torch.distributed.run", *options))
    process.kill()
    process.communicate(timeout=60)  # until no one has its output open


@pytest.mark.slow
def test_a_rank_that_dies_is_named(start):
    process = start(*TWO)
    rank = max(ranks_of(process))
    os.kill(rank, signal.SIGKILL)
    began = time.monotonic()
    _, errors = process.communicate(timeout=60)
    assert time.monotonic() - began < 60
    assert f"(process id {rank}) was ended by SIGKILL" in errors
    assert process.returncode == 1
    wait_for_end_of_group(process.pid, seconds=10)


def test_a_loader_worker_that_dies_is_named(start):
    process = start()
    (worker,) = (pid for pid, args in children_of(process.pid).items() if "dummy" in args)
    os.kill(worker, signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert re.search(rf"UserError: DataLoader worker \(pid(\(s\))? {worker}\) .*: if mem", errors)
    assert process.returncode == 1
    wait_for_end_of_group(process.pid, seconds=10)


POOL = """
import os, sys, time
from d2_psformer.utils.parallel import map_with_progress
if __name__ == "__main__":
    for _ in map_with_progress(print, range(9), workers=2, description=""):
        print("started", flush=True)
        time.sleep(60)
"""


def test_workers_of_a_pool_end_with_their_parent():
    process = subprocess.Popen(
        [sys.executable, "-c", POOL], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip
    while process.stdout.readline() != "started\n":
        assert process.poll() is None, process.stderr.read()
    assert len(children_of(process.pid)) >= 2
    process.kill()
    process.wait()
    wait_for_end_of_group(process.pid, seconds=10)
