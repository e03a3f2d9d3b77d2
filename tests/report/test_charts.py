"""Ticks, lines and the reliability of scores."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.ticker import MaxNLocator

from d2_psformer.report.charts import MOST_POINTS, round_ticks, training_charts

POSITIVE = st.floats(1e-6, 1e6)


@given(st.floats(-1e5, 1e5), POSITIVE)
def test_ticks_are_round_and_enclose_the_values(low, length):
    high = low + length
    ticks = round_ticks(low, high)
    assert ticks[0] <= low + 1e-6 * length
    assert ticks[-1] >= high - 1e-6 * length
    assert 4 <= len(ticks) <= 12
    steps = np.diff(ticks)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6, atol=1e-9 * max(abs(low), abs(high)))


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 100), (0, 77.3), (0, 2000), (0, 0.002)])
def test_ticks_are_about_those_of_matplotlib(low, high):
    theirs = MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    ours = round_ticks(low, high)
    assert abs(len(ours) - len(theirs)) <= 3
    assert {round(t, 9) for t in theirs[:1]} <= {round(t, 9) for t in ours}


def test_impossible_values_are_left_out():
    values = [math.nan, math.inf, 0.0, 1.0]
    (chart,) = training_charts({"": {"total_loss": ([0, 1, 2, 3], values)}})
    assert len(chart["lines"][0]["points"]) == 1
    assert training_charts({"": {"total_loss": ([0], [0.0])}}) == []  # no logarithm


def test_long_trainings_have_few_points_and_their_last():
    count = 50_000
    values = np.linspace(50, 1, count).tolist()
    (chart,) = training_charts({"": {"lr": ([*range(count)], values)}})
    points = chart["lines"][0]["points"]
    assert len(points) <= MOST_POINTS
    assert points[-1][0] == 1000
    assert chart["lines"][0]["last"] == 1


def test_two_trainings_share_a_chart():
    points = [0, 10], [1.0, 2.0]
    (chart,) = training_charts({"A": {"lr": points}, "B": {"lr": points}})
    assert [line["name"] for line in chart["lines"]] == ["A lr", "B lr"]
    first, second = chart["lines"]
    assert first["color"] == second["color"]
    assert (first["dashed"], second["dashed"]) == (False, True)


def test_many_decades_have_room_for_their_ticks():
    values = [1e-5, 0.3, 20.0]
    (chart,) = training_charts({"": {"total_loss": ([0, 1, 2], values)}})
    texts = [text for _, text in chart["y_ticks"]]
    assert texts == ["1e-05", "0.0001", "0.001", "0.01", "0.1", "1", "10"]
