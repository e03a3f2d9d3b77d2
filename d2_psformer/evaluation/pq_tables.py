"""Tables of panoptic quality for people, in percent; ``-`` where nothing is to be averaged."""

import math

from .pq_counter import SIZES, SPLITS


def summary_table(results: dict) -> str:
    """All, things and stuff, then all classes by size; from ``PanopticQuality.results()``."""
    rows = {split: results[split] for split in SPLITS}
    rows |= {size: results["by_size"][size]["All"] for size in SIZES}
    lines = [f"{name:10s}| {_percents(row)} {row['n']:5d}" for name, row in rows.items()]
    return _table(f"{'':10s}| {'PQ':>5s}  {'SQ':>5s}  {'RQ':>5s} {'N':>5s}", lines)


def per_class_table(results: dict) -> str:
    """One row per class: kind, PQ, SQ, RQ and the counts behind them."""
    classes = list(results["per_class"].values())
    width = max([len("class"), *(len(c["name"]) for c in classes)])
    header = f"{'class':{width}s} | {'kind':5s} {'PQ':>5s}  {'SQ':>5s}  {'RQ':>5s} "
    lines = [
        f"{c['name']:{width}s} | {'thing' if c['isthing'] else 'stuff'} {_percents(c)} "
        f"{c['tp']:7d} {c['fp']:7d} {c['fn']:7d}"
        for c in classes
    ]
    return _table(f"{header}{'TP':>7s} {'FP':>7s} {'FN':>7s}", lines)


def _table(header: str, lines: list[str]) -> str:
    return "\n".join([header, "-" * len(header), *lines])


def _percents(row: dict) -> str:
    values = (row[key] for key in ("pq", "sq", "rq"))
    return "  ".join(f"{'-' if math.isnan(v) else format(100 * v, '.1f'):>5s}" for v in values)
