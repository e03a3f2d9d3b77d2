"""AP of boxes and masks by pycocotools, which evaluation uses, and by hotcoco where it is there."""

import argparse
import contextlib
import importlib
import importlib.util
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from pycocotools import mask as mask_util

from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.evaluation.instance_evaluator import derive_instances

from .dataset import generated_dataset

_KINDS = {"pycocotools": ("pycocotools.coco", "pycocotools.cocoeval"), "hotcoco": ("hotcoco",) * 2}


def measure(options: argparse.Namespace) -> list[dict]:
    """One row for each package that is installed; they take turns.

    Raises:
        ValueError: a figure of two packages differs.
    """
    kinds = [kind for kind in _KINDS if importlib.util.find_spec(kind)]
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    stats: dict[str, np.ndarray] = {}
    dataset = generated_dataset(options.images, options.size)
    with dataset as name, tempfile.TemporaryDirectory() as folder:
        ids = MetadataCatalog.get(name).thing_dataset_id_to_contiguous_id
        truth = derive_instances(DatasetCatalog.get(name), {i: c for c, i in ids.items()})
        truth["categories"] = [{"id": c, "name": str(c)} for c in ids]
        files = [Path(folder, f"{side}.json") for side in ("truth", "predictions")]
        files[0].write_text(json.dumps(truth))
        files[1].write_text(json.dumps(_predictions(truth["annotations"])))
        for _ in range(options.rounds):
            for kind in kinds:
                start = time.process_time()
                stats[kind] = _average_precision(kind, *map(str, files))
                seconds[kind].append(time.process_time() - start)
    for kind in kinds[1:]:
        if not np.array_equal(stats[kind], stats[kinds[0]]):
            raise ValueError(f"{kind} and {kinds[0]} give different figures: {stats}.")
    return [
        {
            "AP of boxes and masks by": kind,
            "mask AP": 100 * stats[kind][12],
            "CPU ms an image": 1e3 * statistics.median(seconds[kind]) / options.images,
        }
        for kind in kinds
    ]


def _predictions(annotations: list[dict]) -> list[dict]:
    """The truth moved by some pixels with random scores, three times."""
    random, predictions = np.random.default_rng(0), []
    for annotation in [a for a in annotations if not a["iscrowd"]] * 3:
        shift = random.integers(-9, 10, 2)
        moved = np.roll(mask_util.decode(annotation["segmentation"]), shift, (0, 1))
        code = mask_util.encode(np.asfortranarray(moved))
        box = mask_util.toBbox(code).tolist()
        code["counts"] = code["counts"].decode()
        kept = {key: annotation[key] for key in ("image_id", "category_id")}
        scored = {"segmentation": code, "bbox": box, "score": random.random()}
        predictions.append(kept | scored)
    return predictions


def _average_precision(kind: str, truth_file: str, predictions_file: str) -> np.ndarray:
    """COCO's twelve figures of boxes, then of masks."""
    coco, evaluation = map(importlib.import_module, _KINDS[kind])
    stats = []
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        truth = coco.COCO(truth_file)
        predictions = truth.loadRes(predictions_file)
        for task in ("bbox", "segm"):
            run = evaluation.COCOeval(truth, predictions, task)
            run.evaluate()
            run.accumulate()
            run.summarize()
            stats.append(run.stats)
    return np.concatenate(stats)
