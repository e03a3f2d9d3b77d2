"""The architecture of docs/new_architecture.md is added, trained and used just as written there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from d2_psformer.data.scenes import ScenesSpec, write_scenes

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_page_runs_as_written(tmp_path):
    write_scenes(tmp_path / "datasets" / "scenes", ScenesSpec(train=8, val=2, size=64))
    page = (ROOT / "docs" / "new_architecture.md").read_text()
    [code] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "toy.py").write_text(f"{code}\nprint(tuple(ids.shape), type(segments).__name__)")
    env = {name: value for name, value in os.environ.items() if name != "DETECTRON2_DATASETS"}
    env |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "toy.py"]
    done = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "(64, 64) list"
    assert (tmp_path / "output" / "cells" / "metrics.json").is_file()
