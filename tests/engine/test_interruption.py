"""Ctrl-C and SIGTERM: a checkpoint, a sentence, the exit status, and a resumed run that equals
one that was not interrupted."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from dummy_processes import (
    assert_equal_weights,
    run_script,
    script_environment,
    start_script,
    wait_for_end_of_group,
    wait_for_line,
    weights_of,
)
from dummy_training import RecordingTrainer, dummy_cfg

from d2_psformer.engine import interruption

OPTIONS = ("SOLVER.CHECKPOINT_PERIOD", "1000", "DATALOADER.NUM_WORKERS", "1")


def start(folder, *flags, opts=OPTIONS) -> subprocess.Popen:
    return start_script(folder, *opts, flags=flags)


def interrupt(
    process: subprocess.Popen, number: int, folder, *, every: bool = True, seconds: float = 120
) -> Path:
    """Send a signal, to every process as a terminal and a cluster do, and return the checkpoint."""
    (os.killpg if every else os.kill)(process.pid, number)
    output, errors = process.communicate(timeout=seconds)
    assert process.returncode == 128 + number, output + errors
    assert "Traceback" not in output + errors
    path = folder / (folder / "last_checkpoint").read_text()
    assert path.is_file()
    return path


@pytest.fixture
def unhandled():
    """Make a signal that the training does not handle fail the test, not end all tests."""
    earlier = {}

    def fail(number, frame):
        raise AssertionError(f"Signal {number} is not handled.")

    def replace(number: int) -> None:
        earlier[number] = signal.signal(number, fail)

    yield replace
    for number, handler in earlier.items():
        assert signal.signal(number, handler) == fail


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


@pytest.mark.parametrize("iteration", [5, 6])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_the_iteration_of_the_signal_is_the_last(tmp_path, number, iteration, unhandled):
    unhandled(number)
    trainer = RecordingTrainer(dummy_cfg(tmp_path, *OPTIONS[:2]), signals={iteration: number})
    with pytest.raises(SystemExit) as end:
        trainer.train()
    assert end.value.code == 128 + number
    assert len(trainer.losses) == iteration + 1
    assert [path.stem for path in tmp_path.glob("*.pth")] == [f"model_{iteration:07d}"]


@pytest.mark.slow
def test_a_signal_in_the_second_process_alone(tmp_path):
    """As on the second of two machines: the first, and its launcher, end alike."""
    process = start(tmp_path, "--num-gpus", "2", "--sigusr1-at", "5")
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGUSR1, output + errors
    assert "Traceback" not in output + errors
    assert [path.name for path in tmp_path.glob("*.pth")] == ["model_0000005.pth"]


@pytest.mark.parametrize(
    ("number", "flags"),
    [
        (signal.SIGUSR1, ()),
        pytest.param(signal.SIGTERM, (), marks=pytest.mark.slow),
        (signal.SIGINT, ()),
        (signal.SIGTERM, ("--num-gpus", "2")),
    ],
)
@pytest.mark.slow
def test_an_evaluation_ends_at_once_and_is_made_up_for(tmp_path, number, flags):
    opts = (*OPTIONS, "TEST.EVAL_PERIOD", "2")
    process = start(tmp_path, "--evaluation", "100", *flags, opts=opts)
    wait_for_line(process, "evaluating")
    interrupt(process, number, tmp_path, every=False, seconds=30)
    assert [path.name for path in tmp_path.glob("*.pth")] == ["model_0000001.pth"]
    assert (tmp_path / "metrics.json").read_text() == ""
    again = start(tmp_path, "--evaluation", "0", "--resume", *flags, opts=opts)
    interrupt(again, number, tmp_path, every=False)
    rows = [json.loads(line) for line in (tmp_path / "metrics.json").read_text().splitlines()]
    assert rows[0]["iteration"] == 1
    assert rows[0]["panoptic_seg/PQ"] > 0


@pytest.mark.slow
def test_the_evaluation_at_the_end_is_interrupted(tmp_path):
    opts = ("SOLVER.MAX_ITER", "2", "SOLVER.STEPS", "()")
    process = start(tmp_path, "--evaluation", "100", opts=opts)
    wait_for_line(process, "evaluating")
    path = interrupt(process, signal.SIGTERM, tmp_path, every=False, seconds=30)
    assert path.name == "model_final.pth"
    losses = run_script(tmp_path, *opts, flags=("--resume", "--evaluation", "0"))
    assert losses == {}
    rows = [json.loads(line) for line in (tmp_path / "metrics.json").read_text().splitlines()]
    assert [row["iteration"] for row in rows] == [1, 2]
    assert rows[1]["panoptic_seg/PQ"] > 0


@pytest.mark.slow
@pytest.mark.parametrize(("number", "every"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_two_processes(tmp_path, number, every):
    interrupt(start(tmp_path, "--num-gpus", "2"), number, tmp_path, every=every)


STARTS_AND_IS_SIGNALLED = """
import argparse, multiprocessing.popen_spawn_posix, signal, sys, time
from d2_psformer.engine import run

def signalled(popen, process):
    multiprocessing.popen_spawn_posix.Popen._launch = launch
    launch(popen, process)
    signal.raise_signal(signal.SIGTERM)

def wait(args):
    time.sleep(1000)

if __name__ == "__main__":
    launch = multiprocessing.popen_spawn_posix.Popen._launch
    multiprocessing.popen_spawn_posix.Popen._launch = signalled
    options = {"num_gpus": 2, "num_machines": 1, "machine_rank": 0, "dist_url": "auto"}
    run(wait, argparse.Namespace(**options))
"""


@pytest.mark.skipif(os.name != "posix", reason="replaces a function of POSIX's start")
def test_a_signal_while_the_first_process_is_being_started(tmp_path):
    """It is not among the started processes yet, which the signal would be sent to."""
    (tmp_path / "command.py").write_text(STARTS_AND_IS_SIGNALLED)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "command.py")], env=script_environment(),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=60)  # until no one has its output open
    finally:
        wait_for_end_of_group(process.pid, seconds=5)
    assert process.returncode == 128 + signal.SIGTERM, output


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
