"""Panoptic quality by way of PNG files, as Detectron2 and panopticapi measure it: the peer.

Predictions are written as PNGs, all processors read both PNGs of every image, and two histograms
of all its pixels are counted.
"""

import io
import json
import multiprocessing
import os
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from d2_psformer.classes import Classes
from d2_psformer.d2.data import MetadataCatalog
from d2_psformer.evaluation.panoptic_evaluator import with_dataset_ids

SHIFT = 256**3  # more than any segment id
COUNTS = ("iou", "tp", "fp", "fn")


class FileEvaluator:
    """Used like an evaluator of Detectron2."""

    def __init__(self, dataset_name: str):
        self.metadata = MetadataCatalog.get(dataset_name)
        self.category_ids = Classes.from_metadata(self.metadata).category_ids

    def reset(self) -> None:
        self._predictions: list[dict] = []

    def process(self, inputs: list[dict], outputs: list[dict]) -> None:
        for sample, output in zip(inputs, outputs, strict=True):
            ids, segments = output["panoptic_seg"]
            self._predictions.append(
                {
                    "image_id": sample["image_id"],
                    "file_name": Path(sample["file_name"]).stem + ".png",
                    "segments_info": with_dataset_ids(
                        segments, self.category_ids, sample["image_id"]
                    ),
                    "png": encode_png(ids.cpu().numpy()),
                }
            )

    def evaluate(self) -> dict:
        with tempfile.TemporaryDirectory() as folder:
            for prediction in self._predictions:
                Path(folder, prediction["file_name"]).write_bytes(prediction.pop("png"))
            listed = Path(folder, "predictions.json")
            listed.write_text(json.dumps(self._predictions))
            predictions = {p["image_id"]: p for p in json.loads(listed.read_text())}
            truth = json.loads(Path(self.metadata.panoptic_json).read_text())
            pairs = [(a, predictions[a["image_id"]]) for a in truth["annotations"]]
            processes = multiprocessing.cpu_count()
            tasks = [
                (pairs[i::processes], self.metadata.panoptic_root, folder) for i in range(processes)
            ]
            with multiprocessing.get_context("fork").Pool(processes) as pool:
                counts = sum(pool.starmap(_count_images, tasks), Counter())
        kinds = {c["id"]: bool(c["isthing"]) for c in truth["categories"]}
        return {"panoptic_seg": _percentages(counts, kinds)}


def encode_png(ids: np.ndarray) -> bytes:
    rest, channels = ids.copy(), []
    for _ in range(3):
        channels.append((rest % 256).astype(np.uint8))
        rest //= 256
    with io.BytesIO() as file:
        Image.fromarray(np.stack(channels, axis=-1)).save(file, format="PNG")
        return file.getvalue()


def decode_png(path: str | os.PathLike) -> np.ndarray:
    """Ids as uint32 (H, W)."""
    rgb = np.array(Image.open(path), dtype=np.uint32)
    return rgb[..., 0] + 256 * rgb[..., 1] + 256 * 256 * rgb[..., 2]


def count_image(truth: tuple[np.ndarray, list[dict]], guess: tuple[np.ndarray, list[dict]]):
    """Counter with the keys (category id, one of COUNTS), of one image."""
    true_map, guessed_map = truth[0], guess[0]
    true, guessed = ({s["id"]: s for s in side[1]} for side in (truth, guess))
    areas = dict(zip(*_histogram(guessed_map), strict=True))
    joint = true_map.astype(np.uint64) * np.uint64(SHIFT) + guessed_map.astype(np.uint64)
    overlaps = {divmod(pair, SHIFT): count for pair, count in zip(*_histogram(joint), strict=True)}
    found, explained, counts = set(), set(), Counter()
    for (t, g), overlap in overlaps.items():
        if t not in true or g not in guessed or true[t]["iscrowd"]:
            continue
        category = true[t]["category_id"]
        if category != guessed[g]["category_id"]:
            continue
        iou = overlap / (areas[g] + true[t]["area"] - overlap - overlaps.get((0, g), 0))
        if iou > 0.5:
            counts[category, "tp"] += 1
            counts[category, "iou"] += iou
            found.add(t)
            explained.add(g)
    crowds = {s["category_id"]: i for i, s in true.items() if s["iscrowd"]}
    for t, segment in true.items():
        if t not in found and not segment["iscrowd"]:
            counts[segment["category_id"], "fn"] += 1
    for g, segment in guessed.items():
        crowd = crowds.get(segment["category_id"])
        excused = overlaps.get((0, g), 0) + overlaps.get((crowd, g), 0)
        if g not in explained and excused / areas[g] <= 0.5:
            counts[segment["category_id"], "fp"] += 1
    return counts


def _count_images(pairs: list[tuple[dict, dict]], true_folder: str, folder: str) -> Counter:
    counts = Counter()
    for sides in pairs:
        truth, guess = (
            (decode_png(os.path.join(root, side["file_name"])), side["segments_info"])
            for root, side in zip((true_folder, folder), sides, strict=True)
        )
        counts += count_image(truth, guess)
    return counts


def _histogram(values: np.ndarray) -> tuple[list[int], list[int]]:
    found, counts = np.unique(values, return_counts=True)
    return found.tolist(), counts.tolist()


def _percentages(counts: Counter, kinds: dict[int, bool]) -> dict[str, float]:
    results = {}
    for ending, wanted in (("", (True, False)), ("_th", (True,)), ("_st", (False,))):
        rows = []
        for category, isthing in kinds.items():
            iou, tp, fp, fn = (counts[category, name] for name in COUNTS)
            if isthing in wanted and tp + fp + fn:
                weight = tp + fp / 2 + fn / 2
                rows.append((iou / weight, iou / tp if tp else 0.0, tp / weight))
        means = np.mean(rows, axis=0) if rows else [np.nan] * 3
        for key, value in zip(("PQ", "SQ", "RQ"), means, strict=True):
            results[key + ending] = 100 * float(value)
    return results
