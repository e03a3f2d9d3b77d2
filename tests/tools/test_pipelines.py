"""Stages are timed in their order, and their times belong together."""

import time
from types import SimpleNamespace

import pytest
from benchmarks.pipelines import TOTAL, run_stages, stage_table, time_stages, watched


def slow(seconds: float):
    def work(state):
        time.sleep(seconds)
        return [*state, seconds]

    return work


def test_every_stage_gets_the_result_of_the_one_before():
    seconds, result = run_stages({"a": slow(0.02), "b": slow(0.01)}, [0])
    assert result == [0, 0.02, 0.01]
    assert seconds["a"] >= 0.02 and seconds["b"] >= 0.01
    assert seconds[TOTAL] == seconds["a"] + seconds["b"]


def test_pipelines_take_turns_after_one_that_warms_up():
    seen = []
    pipelines = {name: {"only": lambda state, name=name: seen.append(name)} for name in "ab"}
    times = time_stages(pipelines, None, rounds=2)
    assert "".join(seen) == "ab" * 3
    assert times.keys() == {"a", "b"} and times["a"].keys() == {"only", TOTAL}


def test_watched_functions():
    owner = SimpleNamespace(read=slow(0.01), cut=slow(0.02), paste=slow(0.01))
    original = owner.cut
    with watched(
        {"read": "files", "cut": "masks", "paste": "masks", "gone": "x"}, owner
    ) as seconds:
        assert owner.paste(owner.cut(owner.read([]))) == [0.01, 0.02, 0.01]
        owner.read([])
    assert seconds.keys() == {"files", "masks"}
    assert seconds["files"] >= 0.02 and seconds["masks"] >= 0.03
    assert owner.cut is original


def test_stage_table_adds_up_what_agrees():
    rows = [
        {"size": size, "how": how, "stages": {"a": 1.0 * size, "b": 3.0 * size}}
        for size in (1, 2)
        for how in ("x", "y")
    ]
    table = stage_table(rows, ("how",))
    assert [(row["how"], row["stage"], row["ms"]) for row in table] == [
        ("x", "a", 3.0),
        ("x", "b", 9.0),
        ("y", "a", 3.0),
        ("y", "b", 9.0),
    ]
    assert [row["share"] for row in table] == pytest.approx([0.25, 0.75] * 2)
