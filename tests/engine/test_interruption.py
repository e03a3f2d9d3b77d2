"""Ctrl-C and SIGTERM: a checkpoint, a sentence, the exit status, and a resumed run that equals
one that was not interrupted."""

import os
import signal
import subprocess
import sys

import pytest
from dummy_processes import (
    HERE,
    assert_equal_weights,
    run_script,
    script_environment,
    weights_of,
)

SCRIPT = str(HERE / "dummy_training.py")
OPTIONS = ("SOLVER.CHECKPOINT_PERIOD", "1000", "DATALOADER.NUM_WORKERS", "1")


def start(folder, *flags, launcher=(), opts=OPTIONS) -> subprocess.Popen:
    """Start a slow training in a process group of its own and wait for its first iteration."""
    process = subprocess.Popen(
        [sys.executable, *launcher, SCRIPT, "--pause", "0.1", *flags, str(folder), *opts],
        env=script_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout.readline().startswith("{")
    return process


def end_of(process: subprocess.Popen) -> tuple[int, str]:
    """The exit status, and all that was written meanwhile."""
    output, errors = process.communicate(timeout=60)
    return process.returncode, output + errors


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    return folder, run_script(folder, *OPTIONS)


@pytest.mark.parametrize(
    ("number", "flags"),
    [(signal.SIGINT, ()), (signal.SIGTERM, ()), (signal.SIGINT, ("--num-gpus", "2"))],
)
def test_interrupted_and_resumed(tmp_path, uninterrupted, number, flags):
    """The signal reaches all processes, as a terminal and a cluster send it."""
    process = start(tmp_path, *flags)
    os.killpg(process.pid, number)
    status, output = end_of(process)
    assert status == 128 + number, output
    assert "Traceback" not in output, output
    (path,) = tmp_path.glob("model_*.pth")
    assert (tmp_path / "last_checkpoint").read_text() == path.name
    if flags:
        return
    done = int(path.stem.removeprefix("model_")) + 1
    assert done < 15
    folder, losses = uninterrupted
    resumed = run_script(tmp_path, *OPTIONS, flags=["--resume"])
    assert resumed == {i: loss for i, loss in losses.items() if i >= done}
    assert_equal_weights(weights_of(tmp_path), weights_of(folder))


def test_sigterm_to_the_process_that_started_the_others(tmp_path):
    process = start(tmp_path, "--num-gpus", "2")
    process.terminate()
    status, output = end_of(process)
    assert status == 128 + signal.SIGTERM, output
    assert "Traceback" not in output, output
    assert len(list(tmp_path.glob("model_*.pth"))) == 1


def test_signals_are_handled_as_before_after_training(tmp_path):
    from dummy_training import RecordingTrainer, dummy_cfg

    earlier = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    RecordingTrainer(dummy_cfg(tmp_path, "SOLVER.MAX_ITER", 2)).train()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == earlier
