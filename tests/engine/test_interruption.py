"""Ctrl-C and SIGTERM: a checkpoint, a sentence, the exit status, and a resumed run that equals
one that was not interrupted."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from dummy_processes import (
    HERE,
    assert_equal_weights,
    script_environment,
    weights_of,
)
from dummy_training import RecordingTrainer, dummy_cfg

from d2_psformer.engine import interruption

SCRIPT = str(HERE / "dummy_training.py")
OPTIONS = ("SOLVER.CHECKPOINT_PERIOD", "1000", "DATALOADER.NUM_WORKERS", "1")


def start(folder, *flags, launcher=(), opts=OPTIONS) -> subprocess.Popen:
    """Start a slow training in a process group of its own and wait for its first iteration."""
    process = subprocess.Popen(
        [sys.executable, *launcher, SCRIPT, "--pause", "0.3", *flags, str(folder), *opts],
        env=script_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout.readline().startswith("{")
    return process


def interrupt(process: subprocess.Popen, number: int, folder, *, every: bool = True) -> Path:
    """Send a signal, to every process as a terminal and a cluster do, and return the checkpoint."""
    (os.killpg if every else os.kill)(process.pid, number)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + number, output + errors
    assert "Traceback" not in output + errors
    (path,) = folder.glob("model_*.pth")
    assert (folder / "last_checkpoint").read_text() == path.name
    return path


def test_interrupted_and_resumed(tmp_path):
    path = interrupt(start(tmp_path), signal.SIGINT, tmp_path)
    done = int(path.stem.removeprefix("model_")) + 1
    assert done < 15
    whole, resumed = (
        RecordingTrainer(dummy_cfg(tmp_path / "w")),
        RecordingTrainer(dummy_cfg(tmp_path)),
    )
    whole.train()
    resumed.resume_or_load(resume=True)
    resumed.train()
    assert resumed.losses == whole.losses[done:]
    assert_equal_weights(weights_of(tmp_path), weights_of(tmp_path / "w"))


@pytest.mark.slow
@pytest.mark.parametrize(("number", "every"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_two_processes(tmp_path, number, every):
    interrupt(start(tmp_path, "--num-gpus", "2"), number, tmp_path, every=every)


@pytest.mark.slow
def test_sigterm(tmp_path):
    interrupt(start(tmp_path), signal.SIGTERM, tmp_path)


def test_signals_are_handled_as_before_after_training(tmp_path):
    earlier = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    RecordingTrainer(dummy_cfg(tmp_path, "SOLVER.MAX_ITER", 2)).train()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == earlier


def test_the_second_signal_ends_at_once(monkeypatch):
    monkeypatch.setattr(interruption, "_SAME_PRESS", 0.0)
    hook, raised = interruption.Interruption(), []
    monkeypatch.setattr(signal, "raise_signal", raised.append)
    with hook.handled():
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert raised == [signal.SIGTERM]
