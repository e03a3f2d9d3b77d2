"""The benchmark runs, and writes figures that belong together."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.timing import peak_memory, take_turns

TOOL = Path(__file__).parents[2] / "tools" / "benchmark.py"


def test_op(tmp_path):
    arguments = ["op", "--cases", "decoder", "--what", "op", "--rounds", "1", "--no-memory"]
    command = [sys.executable, str(TOOL), *arguments, "--json", str(tmp_path / "op.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "op.json").read_text())
    assert content["machine"]["torch"]
    plain = [row for row in content["results"] if row["kernel"] == "pytorch"]
    assert [row["pass"] for row in plain] == ["forward", "forward+backward"]
    for row in content["results"]:
        base = next(p for p in plain if p["pass"] == row["pass"])
        assert row["speed-up"] == pytest.approx(base["ms"] / row["ms"])
        assert row["ns per (query, head)"] == pytest.approx(row["ms"] * 1e6 / 2400)


def test_calls_take_turns():
    seen = []
    take_turns({"a": lambda: seen.append("a"), "b": lambda: seen.append("b")}, rounds=2)
    assert "".join(seen) == "aabb" * 2  # every turn begins with a call to warm up


def use_memory():
    return lambda: bytearray(64 * 2**20).count(0)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
def test_peak_memory():
    assert 60 * 2**20 < peak_memory(use_memory) < 80 * 2**20
