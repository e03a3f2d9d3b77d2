"""d2lite's evaluators with several processes and with wrong data."""

import json
import logging

import numpy as np
import pytest
import torch

from d2_psformer.d2lite.data import DatasetCatalog, MetadataCatalog
from d2_psformer.d2lite.errors import UserError
from d2_psformer.d2lite.evaluation import COCOEvaluator, SemSegEvaluator, inference_on_dataset
from d2_psformer.d2lite.structures import Boxes, Instances
from d2_psformer.d2lite.utils import comm

NAME = "d2lite_evaluation"


@pytest.fixture
def evaluator():
    """A semantic evaluator whose labels are the 'file name' itself."""
    DatasetCatalog.register(
        NAME, lambda: [{"file_name": k, "sem_seg_file_name": k} for k in ("good", "large", "wrong")]
    )
    MetadataCatalog.get(NAME).set(stuff_classes=["x", "y"], ignore_label=255)
    labels = {"good": [[0, 1]], "large": [[0, 1], [0, 1]], "wrong": [[0, 2]]}
    yield SemSegEvaluator(
        NAME, distributed=False, sem_seg_loading_fn=lambda f, dtype: np.array(labels[f], dtype)
    )
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


@pytest.mark.parametrize(
    ("file_name", "words"), [("large", ("'large'", "(2, 2)", "(1, 2)")), ("wrong", ("class 2",))]
)
def test_labels_that_do_not_fit(evaluator, file_name, words):
    output = {"sem_seg": torch.eye(2)[:, None]}
    evaluator.process([{"file_name": "good"}], [output])
    with pytest.raises(UserError) as error:
        evaluator.process([{"file_name": file_name}], [output])
    assert all(word in str(error.value) for word in words)


def test_average_precision_needs_an_annotation_file():
    with pytest.raises(UserError, match=r"no_annotation.*json_file"):
        COCOEvaluator("no_annotation")
    MetadataCatalog.remove("no_annotation")


def test_semantic_counts_of_all_processes_are_added(evaluator, monkeypatch):
    right, wrong = torch.eye(2)[:, None], torch.eye(2).flip(0)[:, None]
    evaluator.process([{"file_name": "good"}], [{"sem_seg": wrong}])
    other = evaluator._conf_matrix
    evaluator.reset()
    evaluator.process([{"file_name": "good"}], [{"sem_seg": right}])
    evaluator._distributed = True
    monkeypatch.setattr(comm, "all_gather", lambda mine: [mine, other])
    assert evaluator.evaluate()["sem_seg"]["pACC"] == 50
    monkeypatch.setattr(comm, "is_main_process", lambda: False)
    assert evaluator.evaluate() is None


def test_predictions_of_all_processes_are_gathered(tmp_path, monkeypatch):
    images = [{"id": i, "height": 9, "width": 9} for i in (1, 2)]
    content = {"images": images, "categories": [{"id": 4, "name": "cat"}]}
    (tmp_path / "gt.json").write_text(json.dumps(content))
    MetadataCatalog.get(NAME).json_file = str(tmp_path / "gt.json")
    evaluator = COCOEvaluator(NAME, output_dir=str(tmp_path))
    MetadataCatalog.remove(NAME)
    found = Instances((9, 9), pred_boxes=Boxes([[1, 1, 5, 5]]))
    found.scores, found.pred_classes = torch.ones(1), torch.tensor([4])
    evaluator.process([{"image_id": 1}], [{"instances": found}])
    other = [{**prediction, "image_id": 2} for prediction in evaluator._predictions]
    monkeypatch.setattr(comm, "gather", lambda mine, dst: [mine, other])
    assert evaluator.evaluate() == {}  # There are no annotations.
    saved = json.loads((tmp_path / "coco_instances_results.json").read_text())
    assert [prediction["image_id"] for prediction in saved] == [1, 2]
    monkeypatch.setattr(comm, "is_main_process", lambda: False)
    assert evaluator.evaluate() == {}


def test_progress_is_logged(caplog):
    with caplog.at_level(logging.INFO):
        inference_on_dataset(lambda batch: batch, [[1]] * 3, None)
    text = caplog.text
    assert "Inference on 3 batches" in text and "Inference took" in text


def test_a_process_may_have_nothing_to_do():
    assert inference_on_dataset(lambda batch: batch, [], None) == {}
