"""Panoptic quality of predictions in memory, and by Detectron2 over PNG files where it is there."""

import argparse
import importlib.util
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from d2_psformer.d2.data import DatasetCatalog
from d2_psformer.d2.evaluation import DatasetEvaluator
from d2_psformer.d2.panoptic_evaluation import COCOPanopticEvaluator
from d2_psformer.data import read_panoptic_png
from d2_psformer.evaluation import PanopticQualityEvaluator

from .dataset import generated_dataset
from .pq_files import measure_files
from .timing import milliseconds, take_turns

Prediction = tuple[dict, dict]  # input and output of one image, as evaluators take them


def measure(options: argparse.Namespace) -> list[dict]:
    """One row for each evaluator of predictions in memory, and for each program of files.

    Raises:
        ValueError: the figures of two evaluators differ.
    """
    with generated_dataset(options.images, options.size) as name:
        predictions = make_predictions(name)
        evaluators = {"ours": partial(_evaluate, PanopticQualityEvaluator(name), predictions)}
        if COCOPanopticEvaluator is not None and importlib.util.find_spec("panopticapi"):
            theirs = COCOPanopticEvaluator(name)
            evaluators["Detectron2, panopticapi"] = partial(_evaluate, theirs, predictions)
        figures = {kind: evaluate() for kind, evaluate in evaluators.items()}
        seconds = take_turns(evaluators, options.rounds)
        cores = {kind: _processor_seconds(evaluate) for kind, evaluate in evaluators.items()}
        with tempfile.TemporaryDirectory() as folder:
            of_files = measure_files(name, predictions, Path(folder), options.rounds)
    check_equal(figures)
    ours = milliseconds(seconds["ours"])["median ms"]
    rows = []
    for kind in evaluators:
        found = milliseconds([value / options.images for value in seconds[kind]])
        row = {"evaluator": kind, "PQ": figures[kind]}
        row |= {f"{key} an image": value for key, value in found.items()}
        row["times ours"] = found["median ms"] * options.images / ours
        rows.append({**row, "CPU ms an image": 1e3 * cores[kind] / options.images})
    return rows + of_files


def make_predictions(dataset_name: str) -> list[Prediction]:
    """The ground truth moved by some pixels, one segment in ten left out and one misclassified."""
    predictions = []
    for number, record in enumerate(DatasetCatalog.get(dataset_name)):
        ids = np.roll(read_panoptic_png(record["pan_seg_file_name"]), 1 + number % 9, axis=1)
        segments = [s for s in record["segments_info"] if not s["iscrowd"]]
        kept = []
        for place, segment in enumerate(segments):
            if (place + number) % 10 != 0:
                other = segments[0] if (place + number) % 10 == 5 else segment
                kept.append({"id": segment["id"], **_class_of(other)})
        ids[~np.isin(ids, [s["id"] for s in kept])] = 0
        predictions.append((record, {"panoptic_seg": (torch.from_numpy(ids), kept)}))
    return predictions


def check_equal(figures: dict[str, float]) -> None:
    """
    Raises:
        ValueError: an evaluator has another PQ than ours, in per cent.
    """
    for kind, value in figures.items():
        if abs(value - figures["ours"]) > 1e-9:
            raise ValueError(f"PQ is {figures['ours']} by ours and {value} by {kind}.")


def _class_of(segment: dict) -> dict:
    return {key: segment[key] for key in ("category_id", "isthing")}


def _evaluate(evaluator: DatasetEvaluator, predictions: list[Prediction]) -> float:
    evaluator.reset()
    for sample, output in predictions:
        ids, info = output["panoptic_seg"]
        copies = [dict(segment) for segment in info]  # Detectron2's writes into them
        evaluator.process([sample], [{"panoptic_seg": (ids, copies)}])
    return evaluator.evaluate()["panoptic_seg"]["PQ"]


def _processor_seconds(evaluate: Callable[[], float]) -> float:
    """Of all cores, which other programs disturb less than the clock."""
    start = time.process_time()
    evaluate()
    return time.process_time() - start
