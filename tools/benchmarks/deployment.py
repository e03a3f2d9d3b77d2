"""Quality and speed of a model and of its exported files, on generated scenes."""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from d2_psformer.cli.predict import config_of
from d2_psformer.data.scenes import SCENES_CATEGORIES, generate_scene
from d2_psformer.deployment import Model
from d2_psformer.engine import Predictor
from d2_psformer.evaluation import PanopticQuality
from d2_psformer.export import export

from .timing import milliseconds, seconds_of

FIRST_SCENE = 30_000_000  # far from those of the training and validation sets
Predict = Callable[[np.ndarray], tuple[np.ndarray, list[dict]]]  # to ids and segments


def measure(options: argparse.Namespace) -> list[dict]:
    """One row for each variant of the model: PQ and time from the image to its segments.

    The variants take turns with every image; its first run is not counted.
    """
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        variants, sizes = _variants(options, Path(folder))
        counters = {name: PanopticQuality(SCENES_CATEGORIES) for name in variants}
        seconds: dict[str, list[float]] = {name: [] for name in variants}
        for number in tqdm(range(options.images), desc="deployment", disable=None):
            image, ids, segments = generate_scene(FIRST_SCENE + number, size=options.size)
            for name, predict in variants.items():
                counters[name].add(number, ids, segments, *predict(image))
                seconds[name].append(seconds_of(lambda p=predict, i=image: p(i)))
    first = next(iter(variants))
    base = milliseconds(seconds[first])["median ms"]
    rows = []
    for name in variants:
        found = milliseconds(seconds[name])
        row = {"variant": name, "PQ %": 100 * counters[name].results()["All"]["pq"], **found}
        row |= {"times the first": found["median ms"] / base, "file MB": sizes.get(name)}
        rows.append(row)
    return rows


def _variants(
    options: argparse.Namespace, folder: Path
) -> tuple[dict[str, Predict], dict[str, float]]:
    """How each variant predicts, and the megabytes of its file."""
    cfg = config_of(options.model, options.weights, ["MODEL.DEVICE", "cpu"])
    variants: dict[str, Predict] = {}
    for dtype in ("float32", "bfloat16"):
        cfg.MODEL.AUTOCAST = dtype
        variants[f"PyTorch, {dtype}"] = _of_predictor(Predictor(cfg))
    sizes = {}
    for name, int8 in (("onnxruntime, float32", False), ("onnxruntime, int8 matrices", True)):
        file = folder / f"{int8}.onnx"
        export(cfg, file, "onnx", int8=int8)
        sizes[name] = file.stat().st_size / 1e6
        variants[name] = _of_file(Model(file, threads=options.threads))
    return variants, sizes


def _of_predictor(predictor: Predictor) -> Predict:
    category_ids = [category["id"] for category in SCENES_CATEGORIES]

    def predict(image: np.ndarray) -> tuple[np.ndarray, list[dict]]:
        ids, segments = predictor(image)["panoptic_seg"]
        named = [{**s, "category_id": category_ids[s["category_id"]]} for s in segments]
        return ids.numpy(), named

    return predict


def _of_file(model: Model) -> Predict:
    def predict(image: np.ndarray) -> tuple[np.ndarray, list[dict]]:
        result = model(image)
        return result.panoptic, result.segments

    return predict
