"""examples/own_data.sh, the way from annotation to a model without PyTorch, runs to its end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_own_data(tmp_path):
    if not (Path(sys.executable).parent / "psformer").exists():
        pytest.skip("the package is not installed here")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", ROOT / "examples" / "own_data.sh", tmp_path / "run"]
    environment = {**os.environ, "PATH": path, "ITERATIONS": "4"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "model" / "report.html").stat().st_size > 100_000
    assert len(list((tmp_path / "run" / "found").glob("*_segments.json"))) == 4
