"""Panoptic quality of predictions in memory, against the way over PNG files."""

import argparse
import importlib.util
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tabulate import tabulate

from d2_psformer.classes import Classes
from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.d2.evaluation import DatasetEvaluator
from d2_psformer.d2.panoptic_evaluation import COCOPanopticEvaluator
from d2_psformer.data import read_panoptic_png
from d2_psformer.data.coco_panoptic import PanopticFiles
from d2_psformer.evaluation import PanopticQuality, PanopticQualityEvaluator
from d2_psformer.evaluation.panoptic_evaluator import with_dataset_ids

from .coco_sized import add_dataset_options, coco_sized
from .pipelines import TOTAL, Pipeline, stage_table, time_stages
from .plain_pq import FileEvaluator, count_image, decode_png, encode_png

OURS, FILES, DETECTRON2 = "ours", "PNG files", "Detectron2 with panopticapi"
SET = 5000  # images of COCO's validation set
TOLERANCE = 1e-9

Prediction = tuple[dict, dict]  # input and output of one image, as evaluators take them


def add_options(parser: argparse.ArgumentParser) -> None:
    add_dataset_options(parser, images=100)


def measure(options: argparse.Namespace) -> list[dict]:
    """Print a row for each evaluator and a table of stages; return the rows.

    Raises:
        ValueError: the figures of two evaluators differ.
    """
    logging.disable(logging.INFO)  # evaluators tell their results every time
    figures: dict[str, dict[str, float]] = {}
    with coco_sized(options) as name:
        predictions = make_predictions(name)
        contestants = {
            kind: _evaluation(make(name), partial(figures.__setitem__, kind))
            for kind, make in _evaluators().items()
        }
        times = time_stages(contestants, predictions, options.rounds)
        _check_equal(figures)
        alone = time_stages(_work_on_images(name), predictions, options.rounds)
    rows = []
    for kind, stages in (times | {f"{k}, one process": v for k, v in alone.items()}).items():
        per_image = {stage: 1e3 * seconds / options.images for stage, seconds in stages.items()}
        total = per_image.pop(TOTAL)
        rows.append(
            {
                "evaluator": kind,
                "images": options.images,
                "ms per image": total,
                f"seconds for {SET}": 1e-3 * total * SET,
                "times ours": total / (1e3 * times[OURS][TOTAL] / options.images),
                "PQ": figures[kind]["PQ"] if kind in figures else None,
                "stages": per_image,
            }
        )
    shown = [{key: value for key, value in row.items() if key != "stages"} for row in rows]
    print(tabulate(shown, headers="keys", floatfmt=".2f", missingval=""))
    print("\nStages, ms per image:")
    print(tabulate(stage_table(rows, ("evaluator",)), "keys", floatfmt=".2f"))
    return rows


def make_predictions(dataset_name: str) -> list[Prediction]:
    """The ground truth moved by some pixels, every fifth segment with another class or left out."""
    predictions = []
    for number, record in enumerate(DatasetCatalog.get(dataset_name)):
        ids = np.roll(read_panoptic_png(record["pan_seg_file_name"]), 1 + number % 9, axis=1)
        segments = [s for s in record["segments_info"] if not s["iscrowd"]]
        kept = []
        for place, segment in enumerate(segments):
            if (place + number) % 10 != 0:
                other = segments[0] if (place + number) % 10 == 5 else segment
                kept.append({**segment, **{k: other[k] for k in ("category_id", "isthing")}})
        ids[~np.isin(ids, [s["id"] for s in kept])] = 0
        info = [{k: s[k] for k in ("id", "category_id", "isthing")} for s in kept]
        predictions.append((record, {"panoptic_seg": (torch.from_numpy(ids), info)}))
    return predictions


def _evaluators() -> dict[str, Callable[[str], DatasetEvaluator]]:
    known = {FILES: FileEvaluator, OURS: PanopticQualityEvaluator}
    if COCOPanopticEvaluator is not None and importlib.util.find_spec("panopticapi"):
        known[DETECTRON2] = COCOPanopticEvaluator
    return known


def _evaluation(evaluator: DatasetEvaluator, keep: Callable[[dict], None]) -> Pipeline:
    """All of what an evaluator does, image by image and at the end."""

    def process(predictions: list[Prediction]) -> None:
        evaluator.reset()
        for sample, output in predictions:
            ids, info = output["panoptic_seg"]
            copies = [dict(segment) for segment in info]  # Detectron2's writes into them
            evaluator.process([sample], [{"panoptic_seg": (ids, copies)}])

    def evaluate(_: None) -> None:
        keep(evaluator.evaluate()["panoptic_seg"])

    return {"process": process, "evaluate": evaluate}


def _check_equal(figures: dict[str, dict[str, float]]) -> None:
    keys = [measure + split for measure in ("PQ", "SQ", "RQ") for split in ("", "_th", "_st")]
    for kind, theirs in figures.items():
        for key in keys:
            ours = figures[OURS][key]
            if abs(ours - theirs[key]) > TOLERANCE:
                raise ValueError(f"{key} is {ours} by ours and {theirs[key]} by '{kind}'.")


def _work_on_images(dataset_name: str) -> dict[str, Pipeline]:
    """What is done to the images, in one process, each stage for all of them."""
    metadata = MetadataCatalog.get(dataset_name)
    truth = PanopticFiles(metadata.panoptic_json, metadata.panoptic_root)
    category_ids, folder = Classes.from_metadata(metadata).category_ids, Path(dataset_name)

    def predicted_segments(sample: dict, output: dict) -> list[dict]:
        return with_dataset_ids(output["panoptic_seg"][1], category_ids, sample["image_id"])

    def read_truth(predictions: list[Prediction]) -> list[tuple]:
        return [
            (*truth.read(s["image_id"])[-1], o["panoptic_seg"][0].numpy(), predicted_segments(s, o))
            for s, o in predictions
        ]

    def count_runs(pairs: list[tuple]) -> None:
        quality = PanopticQuality(truth.categories)
        for number, pair in enumerate(pairs):
            quality.add(number, *pair)

    def write(predictions: list[Prediction]) -> list[Prediction]:
        for sample, output in predictions:
            png = encode_png(output["panoptic_seg"][0].numpy())
            (folder / f"{sample['image_id']}.png").write_bytes(png)
        return predictions

    def read_both(predictions: list[Prediction]) -> list[tuple]:
        return [
            (
                (decode_png(s["pan_seg_file_name"]), truth.annotations[str(s["image_id"])][-1]),
                (decode_png(folder / f"{s['image_id']}.png"), predicted_segments(s, o)),
            )
            for s, o in predictions
        ]

    def count_pixels(pairs: list[tuple]) -> None:
        for (true_ids, annotation), guess in pairs:
            count_image((true_ids, annotation["segments_info"]), guess)

    return {
        FILES: {"write PNGs": write, "read PNGs": read_both, "count": count_pixels},
        OURS: {"read PNGs": read_truth, "count": count_runs},
    }
