"""Panoptic JSON with wrong values: registered, loaded, checked, trained on and evaluated."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from attack_cases import cases
from attack_values import changed, check_registered, forget, try_all
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from d2_psformer.d2.data import DatasetCatalog
from d2_psformer.data import register_panoptic, write_panoptic_png
from d2_psformer.data.ground_truth import read_ground_truth
from d2_psformer.evaluation import PanopticQualityEvaluator
from d2_psformer.evaluation.panoptic_quality import evaluate_files

IDS = np.array([[5, 5, 6], [5, 5, 0]])
CONTENT = {
    "images": [{"id": n, "file_name": f"{n}.jpg", "height": 2, "width": 3} for n in (1, 2)],
    "annotations": [
        {
            "image_id": n,
            "file_name": f"{n}.png",
            "segments_info": [
                {"id": 5, "category_id": 7, "iscrowd": 0, "area": 4, "bbox": [0, 0, 2, 2]},
                {"id": 6, "category_id": 3, "iscrowd": 0, "area": 1},
            ],
        }
        for n in (1, 2)
    ],
    "categories": [
        {"id": 7, "name": "cat", "isthing": 1, "color": [9, 9, 9]},
        {"id": 3, "name": "sky", "isthing": 0},
    ],
}
NAME = "attacked"


def write_files(folder: Path) -> None:
    (folder / "images").mkdir()
    for n in (1, 2):
        Image.new("RGB", (3, 2), (60 * n, 0, 0)).save(folder / "images" / f"{n}.jpg")
        write_panoptic_png(folder / "png" / f"{n}.png", IDS)
    (folder / "sound.json").write_text(json.dumps(CONTENT))


@pytest.fixture
def root(tmp_path):
    write_files(tmp_path)
    yield tmp_path
    forget(NAME)


def attempts(root):
    """Everything that reads a panoptic JSON."""
    path, folder = root / "p.json", root / "png"

    def register() -> list[dict]:
        forget(NAME)
        register_panoptic(NAME, root / "images", path, folder)
        return DatasetCatalog.get(NAME)

    def check() -> None:
        register()
        check_registered(NAME)

    def train() -> None:
        for record in register():
            if "segments_info" in record:
                read_ground_truth(record, (2, 3), len(CONTENT["categories"]))

    def evaluate() -> None:
        records = register()
        evaluator = PanopticQualityEvaluator(NAME)
        for record in records:
            segments = [{"id": s["id"], "category_id": 0} for s in record.get("segments_info", [])]
            evaluator.process([record], [{"panoptic_seg": (torch.tensor(IDS), segments[:1])}])
        evaluator.evaluate()

    yield register
    yield check
    yield train
    yield evaluate
    yield lambda: evaluate_files(str(root / "sound.json"), str(path), str(folder), str(folder))
    yield lambda: evaluate_files(str(path), str(path), str(folder), str(folder))


@given(st.integers(0, 2**40))
@cases(60)
def test_wrong_values(root, seed):
    content, _ = changed(CONTENT, seed)
    (root / "p.json").write_text(json.dumps(content))
    try_all(attempts(root), root, NAME)


@given(st.integers(0, 2**40), st.integers(0, 7))
@cases(40)
def test_damaged_text(root, seed, kind):
    """Bytes changed, cut off, or nested too deep."""
    chance = np.random.default_rng(seed)
    data = bytearray(json.dumps(CONTENT).encode())
    if kind == 0:
        del data[chance.integers(len(data)) :]
    elif kind == 1:
        data[chance.integers(len(data))] = chance.integers(256)
    elif kind == 2:
        data[-1:] = b', "info": ' + b"[" * 100_000
    elif kind == 3:
        data[-1:] = b', "info": ' + b"9" * 5000 + b"}"
    else:
        start, end = np.sort(chance.integers(0, len(data), 2))
        data[start:end] = data[end : end + chance.integers(20)]
    (root / "p.json").write_bytes(data)
    try_all(attempts(root), root, NAME)
