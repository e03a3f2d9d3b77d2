"""Readers attacked by inputs that reach new code, where atheris is installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from attack_cases import number_of_cases


@pytest.mark.slow
def test_readers_give_their_content_or_one_sentence():
    pytest.importorskip("atheris", reason="atheris is not installed")
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("guided.py")), str(number_of_cases(500))],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:]
