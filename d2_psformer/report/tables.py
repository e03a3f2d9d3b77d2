"""Figures of a report as rows for its template: headline, classes, sizes, confusion, config."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..config import changed_keys, default_config
from ..evaluation.pq_counter import SIZES, SPLITS
from ..utils.wording import counted
from .evaluation import Evaluation
from .statistics import Statistics, class_names, iou_of_classes

MOST_CONFUSED = 20  # classes of the heat map, and pairs in the list below it
_PQ = {"PQ": "PQ", "SQ": "SQ", "RQ": "RQ", "PQ_th": "PQ things", "PQ_st": "PQ stuff"}
# By the kind of ground truth: (task, figure) -> its name; the first is that of the report.
HEADLINES = {
    "panoptic": {("panoptic_seg", key): name for key, name in _PQ.items()},
    "semantic": {("sem_seg", key): key for key in ("mIoU", "fwIoU", "mACC", "pACC")},
    "instance": {
        (task, key): f"{key} of {name}"
        for task, name in (("segm", "masks"), ("bbox", "boxes"))
        for key in ("AP", "AP50", "AP75")
    },
}

Rows = list[list[float | None]]


def headline(runs: Sequence[Evaluation]) -> dict[str, list[float | None]]:
    """Name of a figure -> its percent in each run; None for NaN, the figure of no class."""
    columns = HEADLINES[runs[0].statistics.kind]
    return {
        name: [_known(run.results[task][key]) for run in runs]
        for (task, key), name in columns.items()
    }


def class_table(runs: Sequence[Evaluation], gallery: Sequence[Sequence[str]]) -> dict[str, Any]:
    """One row a class; the columns depend on the kind of ground truth.

    Args:
        gallery: names of the classes of each image that is shown.

    Returns:
        ``columns``: (name, format of its values), with two runs each figure of A, of B and their
        difference; ``rows``: ``name``, ``color`` and ``isthing`` of the class, ``values``, and the
        numbers of images with it in the data set and in the gallery (``shown``).
    """
    statistics = runs[0].statistics
    classes = statistics.classes
    figures, values = _class_values(runs[0])
    columns = [(name, _format(name)) for name in figures]
    if len(runs) > 1:
        columns = [
            (f"{name} {which}", _format(name, sign))
            for name in figures
            for which, sign in (("A", ""), ("B", ""), ("change", "+"))
        ]
        values = [
            [x for a, b in zip(*both, strict=True) for x in (a, b, _difference(a, b))]
            for both in zip(values, _class_values(runs[1])[1], strict=True)
        ]
    if statistics.kind == "semantic":
        columns.append(("pixels", _format("pixels")))
        pixels = statistics.confusion[:-1].sum(axis=1).tolist()
        values = [[*row, count] for row, count in zip(values, pixels, strict=True)]
    names = class_names(statistics.classes)
    return {
        "columns": columns,
        "rows": [
            {
                "name": names[k],
                "color": "#{:02x}{:02x}{:02x}".format(*classes.colors[k]),
                "isthing": k in classes.thing_ids,
                "values": values[k],
                "images": sum(k in image.classes for image in statistics.images.values()),
                "shown": sum(names[k] in shown for shown in gallery),
            }
            for k in range(classes.num_classes)
        ],
    }


def _class_values(run: Evaluation) -> tuple[list[str], Rows]:
    """Names of columns, and of each class their values."""
    statistics = run.statistics
    rows = statistics.quality.results()["per_class"].values()
    counts = [[row["tp"], row["fp"], row["fn"]] for row in rows]
    if statistics.kind == "semantic":
        pixels = statistics.confusion[:-1]
        accuracies = (
            100 * np.diagonal(pixels) / np.where((n := pixels.sum(axis=1)) > 0, n, math.nan)
        )
        ious = 100 * iou_of_classes(statistics.confusion)
        found = zip(ious.tolist(), accuracies.tolist(), strict=True)
        return ["IoU", "accuracy"], [[_known(v) for v in row] for row in found]
    qualities = [[_known(100 * row[key]) for key in ("pq", "sq", "rq")] for row in rows]
    if statistics.kind == "panoptic":
        names = ["PQ", "SQ", "RQ"]
        return [*names, *_COUNTS], [[*q, *c] for q, c in zip(qualities, counts, strict=True)]
    precisions = [
        _known(run.results["segm"].get(f"AP-{name}")) for name in class_names(statistics.classes)
    ]
    matched = zip(precisions, qualities, counts, strict=True)
    return ["AP", "SQ", "RQ", *_COUNTS], [[p, *q[1:], *c] for p, q, c in matched]


_COUNTS = ["found", "false", "missed"]


def _format(figure: str, sign: str = "") -> str:
    """The format of a count, or of percent."""
    return f"{{:{sign},}}" if figure in (*_COUNTS, "pixels") else f"{{:{sign}.1f}}"


def size_table(runs: Sequence[Evaluation]) -> dict[str, list] | None:
    """PQ, or AP of masks, by the size of segments: rows of (size, segments of the truth, values).

    None for semantic data, whose segments are classes.
    """
    first = runs[0].statistics
    if first.kind == "semantic":
        return None
    splits = [*SPLITS] if first.kind == "panoptic" else ["AP of masks"]
    letters = [""] if len(runs) == 1 else [" A", " B"]
    segments = (first.quality.tp + first.quality.fn).sum(axis=1).tolist()
    rows = [
        [size, segments[k], [_by_size(run, split, size) for split in splits for run in runs]]
        for k, size in enumerate(SIZES)
    ]
    return {"columns": [f"{split}{letter}" for split in splits for letter in letters], "rows": rows}


def _by_size(run: Evaluation, split: str, size: str) -> float | None:
    if run.statistics.kind == "instance":
        return _known(run.results["segm"][f"AP{size[0]}"])
    return _known(100 * run.statistics.quality.results()["by_size"][size][split]["pq"])


def confusion_table(statistics: Statistics) -> dict[str, Any]:
    """Pixels by true and by predicted class, of the classes that are confused most.

    Returns:
        ``columns``: names; ``rows``: ``name``, ``pixels`` of the truth, ``cells``: percent of
        them; ``pairs``: of different classes, (truth, prediction, pixels, percent of the truth).
    """
    names, counts = class_names(statistics.classes), statistics.confusion
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    wrong[-1] = 0  # what the model finds where nothing is annotated is no confusion
    occurs = np.flatnonzero(counts[:-1, :].sum(axis=1) + counts[:, :-1].sum(axis=0))
    weight = wrong.sum(axis=1)[occurs] + wrong.sum(axis=0)[occurs]
    shown = np.sort(occurs[np.argsort(-weight, kind="stable")[:MOST_CONFUSED]]).tolist()
    others = sorted({*occurs.tolist()} - {*shown})
    groups = {names[k]: [k] for k in shown}
    groups |= {counted(len(others), "other class"): others} if others else {}
    rows, columns = ({**groups, void: [-1]} for void in ("not annotated", "no segment"))
    merged = np.array(
        [[counts[np.ix_(r, c)].sum() for c in columns.values()] for r in rows.values()]
    )
    kept_rows, kept_columns = merged.any(axis=1), merged.any(axis=0)
    totals = merged.sum(axis=1)
    pairs = sorted(zip(*np.nonzero(wrong), strict=True), key=lambda pair: -wrong[pair])
    return {
        "columns": [name for name, kept in zip(columns, kept_columns, strict=True) if kept],
        "rows": [
            {
                "name": name,
                "pixels": int(total),
                "cells": [
                    {"value": 100 * int(v) / int(total), "right": column == name}
                    for column, v, shown in zip(columns, line, kept_columns, strict=True)
                    if shown
                ],
            }
            for name, line, total, kept in zip(rows, merged, totals, kept_rows, strict=True)
            if kept
        ],
        "pairs": [
            [
                names[t],
                names[p] if p < len(names) else "no segment",
                int(wrong[t, p]),
                100 * int(wrong[t, p]) / int(counts[t].sum()),
            ]
            for t, p in pairs[:MOST_CONFUSED]
        ],
    }


def config_table(runs: Sequence[Evaluation]) -> list[tuple[str, list[str]]]:
    """Keys that differ from the defaults in some run: the default, and the value of each run."""
    changed = [changed_keys(run.cfg) for run in runs]
    sources = [default_config(), *(run.cfg for run in runs)]
    keys = sorted(set().union(*changed))
    return [(key, [_value(cfg, key) for cfg in sources]) for key in keys]


def _value(cfg, key: str) -> str:
    for part in key.split("."):
        if part not in cfg:
            return "-"
        cfg = cfg[part]
    return repr(cfg)


def _known(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else float(value)


def _difference(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else b - a
