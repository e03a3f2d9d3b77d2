"""Analyses as tables for people and as plain values for programs."""

from tabulate import tabulate

from .models import Analysis
from .published import PUBLISHED, UNUSED_BRANCHES

Seconds = dict[str, float] | None


def part_rows(analysis: Analysis, depth: int, seconds: Seconds = None) -> list[dict]:
    """One row for each module down to a depth, the whole model first; plain numbers."""
    rows = []
    for name in analysis.modules(depth):
        row = {
            "part": name,
            "parameters": analysis.parameters(name),
            "trainable": analysis.parameters(name, trainable=True),
            "flops": analysis.counts.flops_of(name),
            "activations": analysis.counts.activations_of(name),
        }
        if seconds is not None:
            row["seconds"] = seconds.get(name)
        rows.append(row)
    return rows


def part_table(rows: list[dict], style: str) -> str:
    """Millions, GFLOPs and milliseconds; a part's own row holds its children's."""
    whole = rows[0]
    shown = []
    for row in rows:
        cells = {
            "part": row["part"] or "whole model",
            "parameters, M": _number(row["parameters"] / 1e6, 3),
            "trainable, M": _number(row["trainable"] / 1e6, 3),
            "GFLOPs": _number(row["flops"] / 1e9, 2),
            "share": f"{row['flops'] / max(whole['flops'], 1):.0%}",
            "activations, M": _number(row["activations"] / 1e6, 1),
        }
        if "seconds" in row:
            # a part that is never called as a module cannot be timed
            cells["ms"] = "" if row["seconds"] is None else _number(row["seconds"] * 1e3, 1)
        shown.append(cells)
    return _table(shown, style)


def kind_table(analysis: Analysis, style: str) -> str:
    """FLOPs by kind of operator."""
    kinds = analysis.counts.flops_by_kind().most_common()
    whole = sum(number for _, number in kinds)
    return _table(
        [
            {"operators": k, "GFLOPs": _number(n / 1e9, 2), "share": f"{n / whole:.1%}"}
            for k, n in kinds
        ],
        style,
    )


def uncounted_text(analysis: Analysis) -> str:
    """One paragraph: operators without a formula, and how many numbers they give."""
    found = analysis.counts.uncounted.most_common()
    listed = ", ".join(f"{name} {number / 1e6:.1f}" for name, number in found)
    return f"Not counted, with the numbers that they give in millions: {listed}."


def summary_row(names: list[str], analysis: Analysis) -> dict:
    """One model of many, beside what is published of it; plain numbers.

    Args:
        names: of its configs, as in PUBLISHED.
    """
    known = [PUBLISHED[name] for name in names if name in PUBLISHED]
    trainable = analysis.parameters(trainable=True)
    row = {
        "configs": names,
        "backbone": analysis.model.backbone.name,
        "parameters": analysis.parameters(),
        "trainable": trainable,
        "flops": analysis.counts.flops_of(),
        "flops of the backbone": analysis.counts.flops_of("backbone"),
        "activations": analysis.counts.activations_of(),
    }
    if known:
        row |= {
            "published parameters, M": known[0].parameters,
            "published GFLOPs": known[0].gflops,
            "published PQ": [published.pq for published in known],
            "official trainable": known[0].exact,
        }
        if known[0].exact is not None:
            row["equal less unused"] = trainable + UNUSED_BRANCHES == known[0].exact
    return row


def parameter_table(rows: list[dict], style: str) -> str:
    """Millions; "=" where the official code has the same number and its unused branches."""
    verdicts = {None: "", True: "=", False: "differs"}
    return _table(
        [
            {
                "config": ", ".join(row["configs"]),
                "parameters": _number(row["parameters"] / 1e6, 2),
                "trainable": _number(row["trainable"] / 1e6, 2),
                "published": _number(row.get("published parameters, M"), 1),
                "official code": _number(_millions(row.get("official trainable")), 2),
                "less its unused": verdicts[row.get("equal less unused")],
                "published PQ": ", ".join(f"{pq:.1f}" for pq in row.get("published PQ", [])),
            }
            for row in rows
        ],
        style,
    )


def flop_table(rows: list[dict], style: str) -> str:
    """GFLOPs, and millions of activations."""
    return _table(
        [
            {
                "config": ", ".join(row["configs"]),
                "backbone": row["backbone"],
                "GFLOPs": _number(row["flops"] / 1e9, 1),
                "of the backbone": _number(row["flops of the backbone"] / 1e9, 1),
                "published": _number(row.get("published GFLOPs"), 0),
                "activations": _number(row["activations"] / 1e6, 0),
            }
            for row in rows
        ],
        style,
    )


def _millions(number: int | None) -> float | None:
    return None if number is None else number / 1e6


def _table(rows: list[dict], style: str) -> str:
    sides = ["left", *["right"] * (len(rows[0]) - 1)]
    return tabulate(rows, headers="keys", tablefmt=style, colalign=sides, disable_numparse=True)


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
