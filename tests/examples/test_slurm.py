"""The SLURM script, with commands of SLURM that write down how they are called."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "slurm.sh"
SRUN = """#!/bin/bash
echo "srun $*" >> "$CALLS"
trap 'exit 143' TERM
echo $$ > "$CALLS.pid" && mv "$CALLS.pid" "$CALLS.srun"
for _ in $(seq "$TENTHS"); do sleep 0.1; done
exit "$STATUS"
"""
SCONTROL = """#!/bin/bash
if [ "$1" = show ]; then printf 'node7\\nnode8\\n'; else echo "scontrol $*" >> "$CALLS"; fi
"""
SCANCEL = """#!/bin/bash
echo "scancel $*" >> "$CALLS"
kill -TERM "$(cat "$CALLS.srun")"
"""


@pytest.fixture
def start(tmp_path):
    """A function that starts the script on two nodes and returns its process."""
    (tmp_path / "bin").mkdir()
    for name, text in {"srun": SRUN, "scontrol": SCONTROL, "scancel": SCANCEL}.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)

    def start(tenths: int, status: int) -> subprocess.Popen:
        environment = os.environ | {
            "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "CALLS": str(tmp_path / "calls"),
            "TENTHS": str(tenths),
            "STATUS": str(status),
            "SLURM_JOB_ID": "1234567",
            "SLURM_JOB_NODELIST": "node[7-8]",
            "SLURM_JOB_NUM_NODES": "2",
            "SLURM_GPUS_ON_NODE": "4",
            "PYTHON": "python3",
        }
        arguments = ["--config", "scenes/demo", "OUTPUT_DIR", "with a space"]
        return subprocess.Popen(["bash", str(SCRIPT), *arguments], env=environment)

    return start


def calls(folder: Path) -> list[str]:
    return (folder / "calls").read_text().splitlines()


@pytest.mark.parametrize("status", [0, 3])
def test_status_of_the_training(start, tmp_path, status):
    assert start(0, status).wait(20) == status
    [call] = calls(tmp_path)
    assert "--nnodes 2 --nproc-per-node 4" in call
    assert "--rdzv-endpoint node7:24567" in call
    end = "-m d2_psformer train --resume --config scenes/demo OUTPUT_DIR with a space"
    assert call.endswith(end)


def test_time_limit(start, tmp_path):
    process = start(100, 0)
    while not (tmp_path / "calls.srun").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(20) == 0
    assert calls(tmp_path)[1:] == ["scancel --signal=TERM 1234567", "scontrol requeue 1234567"]


def test_training_that_ends_by_itself_after_the_signal(start, tmp_path):
    """It is not queued again."""
    (tmp_path / "bin" / "scancel").write_text("#!/bin/bash\n")
    process = start(10, 0)
    while not (tmp_path / "calls.srun").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(20) == 0
    assert len(calls(tmp_path)) == 1


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_finds_nothing():
    done = subprocess.run(["shellcheck", SCRIPT], capture_output=True, text=True, check=False)
    assert done.stdout == ""
