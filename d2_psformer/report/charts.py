"""Geometry of the charts of a report, which its template draws as SVG.

Places are in a box of 1000 x 1000, from the left and from the top.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..visualization.curves import Curves, panels
from .statistics import BINS, Statistics

# (Run, name of a figure) -> iterations and values.
Lines = dict[tuple[str, str], tuple[list[int], list[float]]]
SIDE = 1000
MOST_POINTS = 400  # of a line; a chart has no more pixels
MOST_LOG_TICKS = 8
DOTS_BELOW = 30  # few points, as of evaluations, would be invisible without a mark


def training_charts(runs: Mapping[str, Curves]) -> list[dict[str, Any]]:
    """A chart for each kind of figure that trainings wrote.

    Args:
        runs: curves by the names of runs, "" for the only one.
    """
    charts: dict[str, tuple[str, Lines]] = {}
    for run, curves in runs.items():
        for title, scale, lines in panels(curves):
            of_all = charts.setdefault(title, (scale, {}))[1]
            of_all |= {(run, name): line for name, line in lines.items()}
    drawn = [_line_chart(title, lines, scale == "log") for title, (scale, lines) in charts.items()]
    return [chart for chart in drawn if chart]


def _line_chart(title: str, curves: Lines, is_log: bool) -> dict[str, Any] | None:
    """Title, axes and lines; None where no value can be drawn.

    A figure has one colour in both runs, and the line of the second is dashed.
    """
    points = {key: _drawable(*curve, is_log) for key, curve in curves.items()}
    colors = {name: number for number, name in enumerate(dict.fromkeys(n for _, n in curves))}
    every = [point for line in points.values() for point in line]
    if not every:
        return None
    xs, ys = zip(*every, strict=True)
    right = max(*xs, 1)
    if is_log:
        low, high = min(ys), max(ys)
        low, high = low / 1.05, high * 1.05
        shown = _log_ticks(low, high) or [low, high]
    else:  # from zero, and never less than a unit of the last tick
        low, high = min(0.0, *ys), max(0.0, *ys) or 1.0
        shown = round_ticks(low, high)
        low, high = shown[0], shown[-1]
    scale = math.log10 if is_log else float
    bottom, top = scale(low), scale(high)

    def place(x: float, y: float) -> tuple[float, float]:
        share = (scale(y) - bottom) / (top - bottom)
        return round(SIDE * x / right, 1), round(SIDE * (1 - share), 1)

    return {
        "title": title,
        "lines": [
            {
                "name": f"{run} {name}".strip(),
                "color": colors[name],
                "dashed": run == "B",
                "points": [place(*point) for point in line],
                "last": line[-1][1],
            }
            for (run, name), line in points.items()
            if line
        ],
        "x_ticks": [(place(x, high)[0], f"{x:g}") for x in round_ticks(0, right) if x <= right],
        "y_ticks": [(place(0, y)[1], f"{y:.3g}") for y in shown],
        "dots_below": DOTS_BELOW,
    }


def _drawable(xs: Sequence[int], ys: Sequence[float], is_log: bool) -> list[tuple[int, float]]:
    """At most MOST_POINTS of the points that have a place on the scale, the last among them."""
    points = [
        (x, y) for x, y in zip(xs, ys, strict=True) if math.isfinite(y) and (y > 0 or not is_log)
    ]
    step = max(1, math.ceil(len(points) / MOST_POINTS))
    return points[::-1][::step][::-1]


def round_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About ``count`` round numbers that enclose the values from ``low`` to ``high``."""
    raw = (high - low) / count
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * m for m in (1, 2, 2.5, 5, 10) if unit * m >= raw * 0.999)
    first, last = math.floor(low / step), math.ceil(high / step - 1e-9)
    return [k * step for k in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten between two values, or where these are many the powers."""
    ticks = [m * 10.0**e for e in range(-9, 10) for m in (1, 2, 5) if low <= m * 10.0**e <= high]
    return ticks if len(ticks) <= MOST_LOG_TICKS else [t for t in ticks if f"{t:e}"[0] == "1"]


def reliability(statistics: Statistics) -> dict[str, Any] | None:
    """How often segments of a score are right; None where there are no scores.

    Returns:
        ``bins``: of each ten percent of the score: count, mean score and share of right ones in
        percent (None without segments); ``error``: the expected calibration error, in percent: the
        mean distance of score and share, weighted by counts (Guo et al., arXiv 1706.04599).
    """
    total = statistics.scored.sum()
    if not total:
        return None
    counts = np.maximum(statistics.scored, 1)
    shares, means = statistics.right / counts, statistics.score_sum / counts
    error = (np.abs(shares - means) * statistics.scored).sum() / total
    bins = [
        {
            "low": 100 * k // BINS,
            "high": 100 * (k + 1) // BINS,
            "count": int(statistics.scored[k]),
            "score": 100 * float(means[k]) if statistics.scored[k] else None,
            "right": 100 * float(shares[k]) if statistics.scored[k] else None,
        }
        for k in range(BINS)
    ]
    return {"bins": bins, "error": 100 * float(error), "count": int(total)}
