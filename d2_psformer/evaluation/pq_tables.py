"""Tables of panoptic quality for people, in percent; ``-`` where nothing is to be averaged."""

import math

from .pq_counter import SIZES, SPLITS


def summary_table(results: dict) -> str:
    """All, things and stuff, then all classes by size; from ``PanopticQuality.results()``."""
    header = f"{'':10s}| {'PQ':>5s}  {'SQ':>5s}  {'RQ':>5s} {'N':>5s}"
    lines = [header, "-" * len(header)]
    lines += [_summary_row(split, results[split]) for split in SPLITS]
    lines += [_summary_row(size, results["by_size"][size]["All"]) for size in SIZES]
    return "\n".join(lines)


def per_class_table(results: dict) -> str:
    """One row a class: kind, PQ, SQ, RQ and the counts behind them."""
    classes = list(results["per_class"].values())
    width = max([len("class"), *(len(c["name"]) for c in classes)])
    header = (
        f"{'class':{width}s} | {'kind':5s} {'PQ':>5s}  {'SQ':>5s}  {'RQ':>5s} "
        f"{'TP':>7s} {'FP':>7s} {'FN':>7s}"
    )
    lines = [header, "-" * len(header)]
    for c in classes:
        kind = "thing" if c["isthing"] else "stuff"
        lines.append(
            f"{c['name']:{width}s} | {kind:5s} {_percent(c['pq'])}  {_percent(c['sq'])}  "
            f"{_percent(c['rq'])} {c['tp']:7d} {c['fp']:7d} {c['fn']:7d}"
        )
    return "\n".join(lines)


def _summary_row(name: str, row: dict) -> str:
    figures = "  ".join(_percent(row[key]) for key in ("pq", "sq", "rq"))
    return f"{name:10s}| {figures} {row['n']:5d}"


def _percent(fraction: float) -> str:
    return f"{'-':>5s}" if math.isnan(fraction) else f"{100 * fraction:5.1f}"
