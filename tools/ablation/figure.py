"""All ablations in one figure."""

import os
from collections.abc import Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from d2_psformer.utils.files import atomic_write

from .results import AblationResult, RowResult

_FIRST, _OTHER = "#444444", "#c2410c"


def draw(results: Sequence[AblationResult], path: str | os.PathLike) -> None:
    """Write a PNG: a panel for each ablation, a line for each row.

    A small dot is a seed, the large one their mean, the bar two standard errors of it to each side.
    The grey line is the mean of the first row.
    """
    shown = [(x.ablation.title, [row for row in x.rows if row.by_seed]) for x in results]
    heights = [len(rows) + 1.2 for _, rows in shown]
    figure = Figure(figsize=(8.5, 0.31 * sum(heights) + 0.6), layout="constrained")
    FigureCanvasAgg(figure)  # draws without a display
    panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False, height_ratios=heights)
    for axes, (title, rows) in zip(panels[:, 0], shown, strict=True):
        axes.axvline(rows[0].mean("PQ"), color=_FIRST, linewidth=0.8, alpha=0.5)
        for place, row in enumerate(rows):
            _draw_row(axes, place, row, _OTHER if place else _FIRST)
        axes.set_yticks(range(len(rows)), [row.row.label for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
        axes.grid(axis="x", alpha=0.3)
        axes.tick_params(axis="y", length=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
    panels[-1, 0].set_xlabel("panoptic quality, %")
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=120)


def _draw_row(axes, place: int, result: RowResult, colour: str) -> None:
    values = [figures["PQ"] for figures in result.by_seed.values()]
    mean, spread = result.mean("PQ"), result.spread("PQ")
    if spread is not None:
        reach = 2 * spread / len(values) ** 0.5
        axes.plot(
            [mean - reach, mean + reach], [place, place], color=colour, linewidth=2, alpha=0.6
        )
    axes.plot(values, [place] * len(values), "o", color=colour, markersize=3.5, alpha=0.5)
    axes.plot(mean, place, "o", color=colour, markersize=8)
