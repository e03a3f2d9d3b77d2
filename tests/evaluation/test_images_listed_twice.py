"""Images with two annotations: panopticapi counts both, and of two predictions the last."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.data import register_panoptic, write_panoptic_png
from d2_psformer.evaluation import PanopticQualityEvaluator
from d2_psformer.evaluation.panoptic_quality import evaluate_files
from d2_psformer.utils.errors import UserError

CATEGORIES = [{"id": 1, "name": "cat", "isthing": 1}, {"id": 2, "name": "sky", "isthing": 0}]
# One cat above one sky, and the same in seven pieces each, of which none matches the whole.
WHOLE = np.repeat([[1], [2]], 7, axis=1)
CUT = np.arange(1, 15).reshape(7, 2).T


def annotation(folder, image_id, name, ids):
    """Write a PNG and return its annotation; odd ids are cats, even ones are sky."""
    write_panoptic_png(folder / name, ids)
    segments = [
        {"id": int(i), "category_id": 2 - int(i) % 2, "iscrowd": 0, "area": int((ids == i).sum())}
        for i in np.unique(ids)
    ]
    return {"image_id": image_id, "file_name": name, "segments_info": segments}


@pytest.fixture
def case(tmp_path):
    """A function that writes ground truth and predictions of one image, "w" WHOLE and "c" CUT."""

    def write(truth, predicted, image_ids=(3, 3)):
        paths = []
        for side, kinds, image_id in zip(
            ("gt", "pred"), (truth, predicted), image_ids, strict=True
        ):
            listed = [
                annotation(tmp_path / side, image_id, f"{place}.png", {"w": WHOLE, "c": CUT}[kind])
                for place, kind in enumerate(kinds)
            ]
            path = tmp_path / f"{side}.json"
            path.write_text(json.dumps({"annotations": listed, "categories": CATEGORIES}))
            paths.append(str(path))
        return paths

    return write


CASES = [
    ("w", "w", 1.0),
    ("wc", "w", 0.2),  # 1 TP, 7 FN, 1 FP: 1 / (1 + 7/2 + 1/2)
    ("cw", "w", 0.2),
    ("w", "cw", 1.0),
    ("w", "wc", 0.0),
    ("ww", "cw", 1.0),
]


@pytest.mark.parametrize(("truth", "predicted", "pq"), CASES)
def test_figures(case, truth, predicted, pq):
    quality = evaluate_files(*case(truth, predicted))
    assert quality.num_images == len(truth)
    assert quality.results()["All"]["pq"] == pytest.approx(pq, abs=1e-12)


@pytest.mark.parametrize(("truth", "predicted", "pq"), CASES)
def test_they_are_panopticapis(case, truth, predicted, pq):
    api = pytest.importorskip("panopticapi.evaluation", reason="panopticapi is not installed")
    assert api.pq_compute(*case(truth, predicted))["All"]["pq"] == pytest.approx(pq, abs=1e-12)


def test_numbers_and_texts_of_one_image(case):
    """Loaders differ in which of them they keep."""
    assert evaluate_files(*case("wc", "w", (3, "3"))).results()["All"]["pq"] == pytest.approx(0.2)


def test_numbers_and_texts_in_one_file(case):
    truth, predicted = case("ww", "w")
    content = json.loads(Path(truth).read_text())
    content["annotations"][1]["image_id"] = "3"
    Path(truth).write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"gt.json' has the image ids 3 and '3'"):
        evaluate_files(truth, predicted)


@pytest.fixture
def catalogued():
    """A function: path of a ground-truth JSON -> the name of its data set."""
    name = "images_listed_twice"

    def register(truth):
        folder = Path(truth).with_suffix("")
        register_panoptic(name, folder, truth, folder)
        return name

    yield register
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)


@pytest.mark.parametrize("times", [1, 2])
def test_a_prediction_in_memory_counts_once_for_each_annotation(case, catalogued, caplog, times):
    """Detectron2's loader gives a record per annotation, which the model predicts alike."""
    evaluator = PanopticQualityEvaluator(catalogued(case("wc", "w")[0]))
    segments = [{"id": 1, "category_id": 0}, {"id": 2, "category_id": 1}]
    with caplog.at_level(logging.WARNING, logger="d2_psformer.evaluation.panoptic_evaluator"):
        for _ in range(times):
            output = {"panoptic_seg": (torch.from_numpy(WHOLE), segments)}
            evaluator.process([{"image_id": 3}], [output])
        assert evaluator.evaluate()["panoptic_seg"]["PQ"] == pytest.approx(20)
    assert not caplog.text  # as many annotations as there are
