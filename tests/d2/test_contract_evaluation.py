"""Evaluators and the evaluation loop, the same on both backends."""

import json
import logging
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from d2_psformer.d2.config import get_cfg
from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.d2.evaluation import (
    COCOEvaluator,
    DatasetEvaluator,
    DatasetEvaluators,
    SemSegEvaluator,
    inference_on_dataset,
    print_csv_format,
    verify_results,
)
from d2_psformer.d2.structures import Boxes, Instances

H, W = 60, 80


class Collector(DatasetEvaluator):
    """Keeps what it is given; answers with one task of its own."""

    def __init__(self, task="numbers"):
        self.task = task

    def reset(self):
        self.pairs = []

    def process(self, inputs, outputs):
        self.pairs += zip(inputs, outputs, strict=True)

    def evaluate(self):
        return {self.task: {"sum": sum(output for _, output in self.pairs)}}


class Doubler(nn.Module):
    def forward(self, batch):
        assert not self.training and not torch.is_grad_enabled()
        return [2 * x for x in batch]


def test_every_batch_is_evaluated_once_without_gradients():
    for mode in (True, False):
        model, collector = Doubler().train(mode), Collector()
        results = inference_on_dataset(model, [[1, 2], [3]], collector)
        assert collector.pairs == [(1, 2), (2, 4), (3, 6)]
        assert results == {"numbers": {"sum": 12}}
        assert model.training == mode


def test_a_model_may_be_a_function_and_evaluators_several_or_none():
    def double(batch):
        return [2 * x for x in batch]

    both = inference_on_dataset(double, [[1], [2]], [Collector("a"), Collector("b")])
    assert both == {"a": {"sum": 6}, "b": {"sum": 6}}
    assert inference_on_dataset(double, [[1], [2]], None) == {}


def test_a_second_round_starts_from_nothing():
    collector = Collector()
    for _ in range(2):
        assert inference_on_dataset(Doubler(), [[1]], collector)["numbers"]["sum"] == 2


def test_an_evaluator_may_have_no_results():
    class Silent(DatasetEvaluator):
        pass

    assert inference_on_dataset(Doubler(), [[1]], Silent()) == {}
    assert DatasetEvaluators([Silent()]).evaluate() == {}


def test_two_evaluators_cannot_share_a_task():
    evaluators = DatasetEvaluators([Collector("same"), Collector("same")])
    evaluators.reset()
    with pytest.raises(AssertionError, match="same"):
        evaluators.evaluate()


def test_main_metrics_are_logged_for_copying(caplog):
    with caplog.at_level(logging.INFO):
        logging.getLogger("detectron2").propagate = True
        print_csv_format({"segm": {"AP": 12.34567, "AP50": 1.0, "AP-person": 5.0}, "speed": 3})
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "copypaste: Task: segm",
        "copypaste: AP,AP50",
        "copypaste: 12.3457,1.0000",
        "copypaste: speed=3",
    ]


@pytest.mark.parametrize(
    ("expected", "good"),
    [
        ([], True),
        ([["segm", "AP", 12.0, 0.5]], True),
        ([["segm", "AP", 13.0, 0.5]], False),
        ([["segm", "APs", 0.0, 9.0]], False),
        ([["segm", "missing", 0.0, 9.0]], False),
    ],
)
def test_results_are_compared_with_expected_ones(expected, good):
    cfg = get_cfg()
    cfg.TEST.EXPECTED_RESULTS = expected
    results = {"segm": {"AP": 12.4, "APs": math.nan}}
    if good:
        assert verify_results(cfg, results)
    else:
        with pytest.raises(SystemExit):
            verify_results(cfg, results)


@pytest.fixture
def name():
    yield "contract_evaluation"
    DatasetCatalog.pop("contract_evaluation", None)
    MetadataCatalog.pop("contract_evaluation", None)


def rectangle(x0, y0, x1, y1):
    mask = torch.zeros(H, W, dtype=torch.bool)
    mask[y0:y1, x0:x1] = True
    return mask


OBJECTS = [  # (image, contiguous class, box): small, medium and large.
    (1, 0, (2, 2, 12, 12)),
    (1, 1, (20, 5, 60, 45)),
    (2, 1, (0, 0, 80, 60)),
    (2, 1, (30, 30, 50, 50)),
]


@pytest.fixture
def coco_ground_truth(tmp_path, name):
    def write(annotations=True):
        content = {
            "info": {},
            "images": [{"id": i, "height": H, "width": W, "file_name": ""} for i in (1, 2)],
            "categories": [{"id": 5, "name": "cat"}, {"id": 8, "name": "dog"}],
        }
        if annotations:
            content["annotations"] = [
                {
                    "id": i + 1,
                    "image_id": image,
                    "category_id": (5, 8)[category],
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                    "iscrowd": 0,
                    "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]],
                }
                for i, (image, category, (x0, y0, x1, y1)) in enumerate(OBJECTS)
            ]
        (tmp_path / "gt.json").write_text(json.dumps(content))
        MetadataCatalog.get(name).set(
            json_file=str(tmp_path / "gt.json"),
            thing_classes=["cat", "dog"],
            thing_dataset_id_to_contiguous_id={5: 0, 8: 1},
        )
        return name

    return write


def predictions(objects, with_masks=True):
    """Inputs and outputs of a model that found the given objects."""
    inputs, outputs = [{"image_id": 1}, {"image_id": 2}], []
    for model_input in inputs:
        found = [o for o in objects if o[0] == model_input["image_id"]]
        instances = Instances((H, W))
        instances.pred_boxes = Boxes(torch.tensor([o[2] for o in found]).reshape(-1, 4))
        instances.pred_classes = torch.tensor([o[1] for o in found], dtype=torch.long)
        instances.scores = torch.linspace(0.9, 0.5, len(found))
        if with_masks:
            masks = [rectangle(*o[2]) for o in found]
            instances.pred_masks = torch.stack(masks) if masks else torch.zeros(0, H, W) > 0
        outputs.append({"instances": instances})
    return inputs, outputs


def coco_results(name, objects, with_masks=True, **options):
    evaluator = COCOEvaluator(name, distributed=False, **options)
    evaluator.reset()
    evaluator.process(*predictions(objects, with_masks))
    return evaluator.evaluate()


def test_perfect_predictions(coco_ground_truth):
    results = coco_results(coco_ground_truth(), OBJECTS)
    assert list(results) == ["bbox", "segm"]
    for metrics in results.values():
        expected = {"AP", "AP50", "AP75", "APs", "APm", "APl", "AP-cat", "AP-dog"}
        assert set(metrics) == expected
        assert math.isnan(metrics.pop("APl"))  # No object has 96 by 96 pixels.
        assert all(value == pytest.approx(100) for value in metrics.values())


def test_a_class_that_is_never_found(coco_ground_truth):
    results = coco_results(coco_ground_truth(), OBJECTS[1:])
    for metrics in results.values():
        assert metrics["AP-cat"] == 0 and metrics["AP-dog"] == pytest.approx(100)
        assert metrics["AP"] == pytest.approx(50)


def test_thresholds_of_overlap(coco_ground_truth):
    # IoU of the cat is 0.6.
    shifted = [(1, 0, (2, 2, 12, 8)), *OBJECTS[1:]]
    metrics = coco_results(coco_ground_truth(), shifted)["segm"]
    assert metrics["AP50"] == pytest.approx(100) and metrics["AP75"] == pytest.approx(50)
    # Right at 0.5, 0.55 and 0.6 of the ten thresholds up to 0.95.
    assert metrics["AP-cat"] == pytest.approx(30)


def test_boxes_alone(coco_ground_truth):
    assert list(coco_results(coco_ground_truth(), OBJECTS, with_masks=False)) == ["bbox"]


def test_tasks_can_be_chosen(coco_ground_truth):
    assert list(coco_results(coco_ground_truth(), OBJECTS, tasks=("segm",))) == ["segm"]


def test_no_predictions_give_nan(coco_ground_truth):
    metrics = coco_results(coco_ground_truth(), [])["bbox"]
    assert all(math.isnan(value) for value in metrics.values())


def test_a_test_set_has_predictions_but_no_results(coco_ground_truth, tmp_path):
    name = coco_ground_truth(annotations=False)
    assert coco_results(name, OBJECTS, output_dir=str(tmp_path / "out")) == {}
    saved = json.loads((tmp_path / "out" / "coco_instances_results.json").read_text())
    assert [(p["image_id"], p["category_id"]) for p in saved] == [(1, 5), (1, 8), (2, 8), (2, 8)]
    assert saved[0]["bbox"] == [2, 2, 10, 10]
    assert saved[0]["segmentation"]["size"] == [H, W]


def test_an_unknown_class_is_named(coco_ground_truth):
    with pytest.raises(AssertionError, match="7"):
        coco_results(coco_ground_truth(), [(1, 7, (2, 2, 12, 12))])


def register_semantic(name, folder, labels, num_classes):
    """Label images as a data set; returns the model's inputs."""
    records = []
    for i, label in enumerate(labels):
        path = folder / f"labels{i}.png"
        Image.fromarray(label).save(path)
        records.append({"file_name": f"image{i}.jpg", "sem_seg_file_name": str(path)})
    DatasetCatalog.register(name, lambda: records)
    MetadataCatalog.get(name).set(
        stuff_classes=[f"class{i}" for i in range(num_classes)], ignore_label=255
    )
    return records


def scores_for(label, num_classes):
    """Outputs (K,H,W) whose argmax is ``label``."""
    one_hot = torch.nn.functional.one_hot(torch.as_tensor(label).long(), num_classes)
    return {"sem_seg": one_hot.permute(2, 0, 1).float()}


def semantic_results(name, inputs, predicted, num_classes):
    evaluator = SemSegEvaluator(name, distributed=False)
    evaluator.reset()
    for model_input, label in zip(inputs, predicted, strict=True):
        evaluator.process([model_input], [scores_for(label, num_classes)])
    return evaluator.evaluate()["sem_seg"]


def test_semantic_segmentation_by_hand(tmp_path, name):
    labels = np.array([[0, 0, 0, 1], [1, 1, 255, 255]], dtype=np.uint8)
    predicted = np.array([[0, 0, 1, 1], [1, 0, 2, 1]])
    inputs = register_semantic(name, tmp_path, [labels], 3)
    results = semantic_results(name, inputs, [predicted], 3)
    assert results["IoU-class0"] == pytest.approx(100 * 2 / 4)
    assert results["IoU-class1"] == pytest.approx(100 * 2 / 4)
    assert math.isnan(results["IoU-class2"])  # Not in the ground truth.
    assert results["ACC-class0"] == pytest.approx(100 * 2 / 3)
    assert results["mIoU"] == pytest.approx(50) and results["fwIoU"] == pytest.approx(50)
    assert results["mACC"] == pytest.approx(200 / 3) == results["pACC"]


@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_semantic_segmentation_against_sets_of_pixels(tmp_path_factory, data):
    name, classes = "contract_evaluation", 4
    random = np.random.RandomState(data.draw(st.integers(0, 10**6)))
    labels = [random.choice([0, 1, 2, 3, 255], (5, 7)).astype(np.uint8) for _ in range(3)]
    predicted = [random.randint(0, classes, (5, 7)) for _ in range(3)]
    inputs = register_semantic(name, tmp_path_factory.mktemp("labels"), labels, classes)
    try:
        results = semantic_results(name, inputs, predicted, classes)
    finally:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    gt, guess = np.stack(labels), np.stack(predicted)
    gt, guess = gt[gt != 255], guess[gt != 255]
    ious = []
    for c in np.unique(gt):
        true, found = set(np.flatnonzero(gt == c)), set(np.flatnonzero(guess == c))
        ious.append(100 * len(true & found) / len(true | found))
        assert results[f"IoU-class{c}"] == pytest.approx(ious[-1])
    assert results["mIoU"] == pytest.approx(np.mean(ious))
    assert results["pACC"] == pytest.approx(100 * np.mean(gt == guess))


def test_labels_can_come_from_a_function(name):
    DatasetCatalog.register(name, lambda: [{"file_name": "a", "sem_seg_file_name": [1, 0]}])
    MetadataCatalog.get(name).set(stuff_classes=["x", "y"], ignore_label=255)

    def load(labels, dtype=None):
        return np.array([labels, labels], dtype=dtype)

    evaluator = SemSegEvaluator(name, distributed=False, sem_seg_loading_fn=load)
    evaluator.reset()
    evaluator.process([{"file_name": "a"}], [scores_for([[1, 0], [1, 0]], 2)])
    assert evaluator.evaluate()["sem_seg"]["mIoU"] == 100
