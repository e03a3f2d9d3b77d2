"""A training that is killed at random moments and resumed ends as one that is left alone."""

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from attack_cases import number_of_cases
from dummy_processes import (
    HERE,
    assert_equal_weights,
    script_environment,
    wait_for_end_of_group,
    weights_of,
)
from dummy_training import main

KILLS = number_of_cases(400) // 100
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
# All of a second: steps, evaluations between and at the end, checkpoints.
OPTIONS = ["TEST.EVAL_PERIOD", "4", "SOLVER.CHECKPOINT_PERIOD", "3", "DATALOADER.NUM_WORKERS", "1"]
SECONDS = 1.2

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def start(folder: Path) -> int:
    """Train, or go on, in a new process, which has imported everything; returns its id."""
    if child := os.fork():
        return child
    status = 99
    try:
        torch.set_num_threads(1)
        with open(folder.with_suffix(".txt"), "a") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        main(
            argparse.Namespace(
                output_dir=folder,
                opts=OPTIONS,
                resume=True,
                pause=0.02,
                evaluation=0.08,
                sigusr1_at=None,
            )
        )
        status = 0
    except SystemExit as error:
        status = error.code
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def wait(child: int, seconds: float = 30) -> int:
    """The exit status, negative for a signal; a process that goes on is killed, and a failure."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise AssertionError(f"It goes on after {seconds} s.")


def is_handled(process: int, number: int) -> bool:
    """True if the process has a handler for the signal, as a training has, and its launcher.

    Where there is no /proc of Linux, nothing is known, and it is False.
    """
    status = Path(f"/proc/{process}/status")
    masks = re.findall(
        r"^SigCgt:\s*([0-9a-f]+)$", status.read_text() if status.exists() else "", re.M
    )
    return any(int(mask, 16) >> number - 1 & 1 for mask in masks)


def figures(folder: Path) -> tuple[list[dict], dict]:
    lines = (folder / "metrics.json").read_text().splitlines()
    rows = [json.loads(line, parse_constant=pytest.fail) for line in lines]
    for row in rows:
        row.pop("time", None), row.pop("data_time", None)
    return rows, json.loads((folder / "evaluations.json").read_text())


def test_killed_at_random_moments(tmp_path):
    whole, folder, kills = tmp_path / "whole", tmp_path / "parts0", 0
    assert wait(start(whole)) == 0, (tmp_path / "whole.txt").read_text()
    while kills < KILLS:
        child, number = start(folder), random.choice(SIGNALS)
        time.sleep(random.uniform(0, SECONDS))
        is_ours = is_handled(child, signal.SIGUSR1) and number != signal.SIGKILL
        os.kill(child, number)
        status = wait(child)
        kills += 1
        output = folder.with_suffix(".txt")  # opened a moment after the start
        told = output.read_text() if output.exists() else ""
        # it had ended, or was at its start or its end, where nothing handles signals
        is_unhandled = not is_ours or (folder / "model_final.pth").exists()
        assert status in (0, 128 + number) or (status == -number and is_unhandled), told
        if status == 128 + number and "Interrupted" in told:
            assert (folder / "last_checkpoint").is_file()
        if status and kills < KILLS:
            continue
        assert wait(start(folder)) == 0, folder.with_suffix(".txt").read_text()
        assert_equal_weights(weights_of(folder), weights_of(whole))
        best = "model_best.pth"
        assert_equal_weights(weights_of(folder, best), weights_of(whole, best))
        assert figures(folder) == figures(whole)
        assert not list(folder.glob(".*.tmp*"))
        folder = tmp_path / f"parts{kills}"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_launchers_killed_at_random_moments(tmp_path):
    """From the start of two processes, before they meet, to their training: none is left."""
    command = [sys.executable, str(HERE / "dummy_training.py"), "--pause", "0.1", "--num-gpus", "2"]
    for number in range(number_of_cases(1000) // 500):
        folder = str(tmp_path / str(number))
        process = subprocess.Popen(
            [*command, folder, "SOLVER.MAX_ITER", "1000000", "DATALOADER.NUM_WORKERS", "1"],
            env=script_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        moment, sent = random.uniform(0, 12), random.choice(SIGNALS)
        time.sleep(moment)
        is_ours = is_handled(process.pid, signal.SIGUSR1)
        process.send_signal(sent)
        try:
            if sent == signal.SIGINT and not is_ours:
                # Modules of others that are imported at the start can swallow a Ctrl-C.
                with suppress(subprocess.TimeoutExpired):
                    process.communicate(timeout=30)
                process.send_signal(sent)
            process.communicate(timeout=60)  # until no one has its output open
        finally:
            wait_for_end_of_group(process.pid, seconds=5)
        expected = (128 + sent,) if is_ours and sent != signal.SIGKILL else (-sent, 128 + sent)
        assert process.returncode in expected, f"{sent} after {moment} s"
