"""Trains the tiny model of ``dummy_training`` in processes of its own."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def script_environment(backend: str | None = None) -> dict[str, str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    if backend:
        environment["D2_PSFORMER_BACKEND"] = backend
    return environment


LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
del sys.argv[:2]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def with_files_up_to(size: int) -> tuple[str, ...]:
    """What starts a script that the system lets write no larger file, in bytes."""
    return "-c", LIMITED, str(size)


def parse_losses(output: str) -> dict[int, float]:
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return {line["iteration"]: line["loss"] for line in lines}


def start_script(folder, *opts, flags=(), launcher=()) -> subprocess.Popen:
    """Start a slow ``dummy_training`` in a process group of its own; wait for an iteration."""
    process = subprocess.Popen(
        [sys.executable, *launcher, str(HERE / "dummy_training.py"), "--pause", "0.3", *flags]
        + [str(folder), *opts],
        env=script_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    wait_for_line(process, "{")
    return process


def wait_for_line(process: subprocess.Popen, beginning: str) -> None:
    for line in process.stdout:
        if line.startswith(beginning):
            return
    raise AssertionError(f"no line '{beginning}...': {process.stderr.read()}")


def children_of(pid: int) -> dict[int, str]:
    """Process id -> command line."""
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    )
    rows = [line.split(None, 2) for line in listed.stdout.splitlines()]
    return {int(own): rest[0] for own, parent, *rest in rows if int(parent) == pid and rest}


def wait_for_end_of_group(group: int, seconds: float) -> None:
    """Fail if a process of the group is there after so many seconds, and kill it."""
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            os.killpg(group, 0)
            time.sleep(0.1)
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return
    raise AssertionError(f"Processes live on after {seconds} s.")


def run_script(folder, *opts, flags=(), backend=None, launcher=()) -> dict[int, float]:
    """Run ``dummy_training`` as a script to its end; returns the loss of every iteration."""
    script = str(HERE / "dummy_training.py")
    command = [sys.executable, *launcher, script, *flags, str(folder), *opts]
    done = subprocess.run(
        command, env=script_environment(backend), capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return parse_losses(done.stdout)


def run_script_and_kill(folder, *opts, after: float) -> dict[int, float]:
    """Run the script, slowly, and SIGKILL it ``after`` seconds of training.

    Returns:
        the losses so far.
    """
    process = subprocess.Popen(
        [sys.executable, str(HERE / "dummy_training.py"), "--pause", "0.06", str(folder), *opts],
        env=script_environment(), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    first = process.stdout.readline()
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate()
    lines = (first + rest).splitlines(keepends=True)
    return parse_losses("".join(line for line in lines if line.endswith("\n")))


def weights_of(folder, name: str = "model_final.pth") -> dict[str, torch.Tensor]:
    return torch.load(Path(folder, name), weights_only=True)["model"]


def assert_equal_weights(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


needs_detectron2 = pytest.mark.skipif(
    importlib.util.find_spec("detectron2") is None, reason="Detectron2 is not installed"
)
