"""What the finished runs say: means and spread over seeds, as JSON and as Markdown."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from d2_psformer.utils.files import read_json

from .declarations import Ablation, Row
from .plan import Planner
from .steps import Step

Figures = dict[str, float]  # metric -> per cent
# metric -> name in tables
COLUMNS = {
    "PQ_th": "things",
    "PQ_st": "stuff",
    "PQ_small": "small",
    "PQ_medium": "medium",
    "PQ_large": "large",
}


@dataclass(frozen=True)
class RowResult:
    """
    Attributes:
        by_seed: figures of the seeds that are done.
    """

    row: Row
    by_seed: dict[int, Figures]

    def mean(self, metric: str) -> float | None:
        values = self._values(metric)
        return statistics.fmean(values) if values else None

    def spread(self, metric: str) -> float | None:
        """Standard deviation over seeds (of the sample), None for fewer than two."""
        values = self._values(metric)
        return statistics.stdev(values) if len(values) > 1 else None

    def difference(
        self, other: "RowResult", metric: str = "PQ"
    ) -> tuple[float, float | None] | None:
        """Mean and standard error of how much better this row is, seed by seed.

        None if they have no seed in common; a single one has no standard error.
        """
        seeds = self.by_seed.keys() & other.by_seed.keys()
        gaps = [self.by_seed[s][metric] - other.by_seed[s][metric] for s in seeds]
        if not gaps:
            return None
        error = statistics.stdev(gaps) / math.sqrt(len(gaps)) if len(gaps) > 1 else None
        return statistics.fmean(gaps), error

    def _values(self, metric: str) -> list[float]:
        values = (figures.get(metric) for figures in self.by_seed.values())
        return [value for value in values if value is not None and math.isfinite(value)]


@dataclass(frozen=True)
class AblationResult:
    """An ablation with what is done of its rows."""

    ablation: Ablation
    rows: list[RowResult]


def collect(planner: Planner, ablation: Ablation, seeds: Sequence[int]) -> AblationResult:
    """Read what is done."""
    rows = []
    for row in ablation.rows:
        steps = {seed: planner.evaluation(row, seed) for seed in seeds}
        done = {seed: _figures(step) for seed, step in steps.items() if step.is_done}
        rows.append(RowResult(row, done))
    return AblationResult(ablation, rows)


def _figures(evaluation: Step) -> Figures:
    dataset = evaluation.cfg.DATASETS.TEST[0]
    return read_json(evaluation.folder / "inference" / dataset / "metrics.json")["panoptic_seg"]


def as_json(results: Sequence[AblationResult]) -> dict:
    """Everything, for other programs."""
    return {
        result.ablation.name: {
            "title": result.ablation.title,
            "paper": result.ablation.paper,
            "rows": [_row_as_json(row) for row in result.rows],
        }
        for result in results
    }


def _row_as_json(result: RowResult) -> dict:
    metrics = ("PQ", *COLUMNS)
    return {
        "label": result.row.label,
        "overrides": {**result.row.train, **result.row.test},
        "seeds": result.by_seed,
        "mean": {metric: result.mean(metric) for metric in metrics},
        "std": {metric: result.spread(metric) for metric in metrics},
        "n": len(result.by_seed),
    }


def as_markdown(results: Sequence[AblationResult]) -> str:
    """A table for each ablation."""
    return "\n\n".join(map(_table, results))


def _table(result: AblationResult) -> str:
    names = ["", "PQ", "against the first", *COLUMNS.values(), "n"]
    rows = [names, ["---"] * len(names)]
    for row in result.rows:
        others = (_number(row.mean(metric)) for metric in COLUMNS)
        gap = None if row is result.rows[0] else row.difference(result.rows[0])
        rows.append(
            [
                row.row.label,
                _with_spread(row.mean("PQ"), row.spread("PQ")),
                "" if gap is None else _with_spread(*gap, form="+.1f"),
                *others,
                str(len(row.by_seed)),
            ]
        )
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    head = [f"### {result.ablation.title}", "", f"The paper: {result.ablation.paper}.", ""]
    return "\n".join(head + lines)


def _with_spread(mean: float | None, spread: float | None, form: str = ".1f") -> str:
    return _number(mean, form) + ("" if spread is None else f" ± {spread:.1f}")


def _number(value: float | None, form: str = ".1f") -> str:
    return "-" if value is None else format(value, form)
