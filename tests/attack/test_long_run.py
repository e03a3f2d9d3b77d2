"""A long training of many resumes takes no more memory, files and time at its end than before."""

import json
import os
import statistics
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from attack_cases import number_of_cases

ITERATIONS, RESUMES = 2 * number_of_cases(200), 10
PERIOD = 15  # of evaluations
MEGABYTES = 10  # as memory moves from one sample to the next

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="reads Linux's /proc"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("long")


@pytest.fixture(scope="module")
def samples(folder) -> list[dict]:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("long_training.py")), str(folder)]
        + [str(ITERATIONS), str(RESUMES + 1), str(PERIOD)],
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-5000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def values(samples: list[dict], name: str, begin: float, end: float) -> list[float]:
    """Those of a part of the training, as shares of its length."""
    first, last = (round(share * len(samples)) for share in (begin, end))
    return [sample[name] for sample in samples[first:last]]


@pytest.mark.parametrize("name", ["memory", "memory_of_workers"])
def test_memory_is_flat(samples, name):
    before, after = (
        statistics.median(values(samples, name, *part)) for part in ((0.5, 0.75), (0.75, 1))
    )
    print(f"{name}: {before:.1f} MB, {after:.1f} MB")
    assert after - before < MEGABYTES


def test_no_file_stays_open(samples):
    for name in ("files", "files_of_workers"):
        early, late = values(samples, name, 0.1, 0.5), values(samples, name, 0.5, 1)
        assert max(late) <= max(early), name


def test_steps_take_as_long_as_before(samples):
    """The quick ones of either part are compared, each against a fixed computation beside it."""
    early, late = (
        statistics.quantiles(values(samples, "step_time", *part), n=10)[0]
        for part in ((0.1, 0.2), (0.9, 1))
    )
    assert late < 1.2 * early


def test_figures_have_no_gaps_and_no_repeats(samples, folder):
    lines = (folder / "output" / "metrics.json").read_text().splitlines()
    rows = [json.loads(line, parse_constant=pytest.fail) for line in lines]
    numbers = [row["iteration"] for row in rows]
    assert all(a < b for a, b in pairwise(numbers))
    due = {done - 1 for done in range(1, ITERATIONS) if done % 20 == 0 or done % PERIOD == 0}
    assert set(numbers) == due | {ITERATIONS - 1, ITERATIONS}
    found = {row["iteration"] for row in rows if "panoptic_seg/PQ" in row}
    expected = {done - 1 for done in range(PERIOD, ITERATIONS, PERIOD)} | {ITERATIONS}
    assert found == expected
