"""Predictions of wrong shapes, types, ids, classes and scores, given to the evaluators."""

import json

import numpy as np
import pytest
import torch
from attack_cases import cases
from attack_values import VALUES, one_sentence
from hypothesis import given
from hypothesis import strategies as st
from small_data import H, W, instance_content, write_instances

from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.d2.structures import Boxes, Instances
from d2_psformer.data import register_instances, register_panoptic, write_panoptic_png
from d2_psformer.evaluation import InstanceEvaluator, PanopticQualityEvaluator, SemanticEvaluator

IDS = np.zeros((H, W), np.int64)
IDS[:10, :12], IDS[10:] = 5, 6
SEGMENTS = [{"id": 5, "category_id": 7}, {"id": 6, "category_id": 3}]
CATEGORIES = [
    {"id": 7, "name": "cat", "isthing": 1},
    {"id": 3, "name": "sky", "isthing": 0},
]


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Of a panoptic and of an instance data set."""
    root = tmp_path_factory.mktemp("predictions")
    write_instances(root, instance_content())
    write_panoptic_png(root / "png" / "0.png", IDS)
    content = {
        "images": [{"id": 1, "file_name": "0.jpg", "height": H, "width": W}],
        "annotations": [{"image_id": 1, "file_name": "0.png", "segments_info": SEGMENTS}],
        "categories": CATEGORIES,
    }
    (root / "panoptic.json").write_text(json.dumps(content))
    register_panoptic("attacked_p", root / "images", root / "panoptic.json", root / "png")
    register_instances("attacked_i", root / "images", root / "instances.json")
    yield root, *(DatasetCatalog.get(name)[0] for name in ("attacked_p", "attacked_i"))
    for name in ("attacked_p", "attacked_i"):
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def ids_of(seed: int) -> torch.Tensor:
    chance = np.random.default_rng(seed)
    ids = torch.tensor(IDS)
    shapes = (H, W), (W, H), (H, W, 1), (0, W), (H,), ()
    return (
        lambda: ids,
        lambda: torch.tensor(chance.integers(-9, 9, (H, W))),
        lambda: ids.to(chance.choice([torch.float32, torch.uint8, torch.bool, torch.int32])),
        lambda: torch.zeros(shapes[chance.integers(len(shapes))], dtype=torch.int64),
        lambda: ids * int(chance.choice([2**30, 2**40, 2**62, -1])),
        lambda: torch.full((H, W), float(chance.choice([np.nan, np.inf, 1.5]))),
    )[chance.integers(6)]()


@given(st.integers(0, 2**32), st.sampled_from(VALUES), st.sampled_from(VALUES), st.integers(0, 7))
@cases(40)
def test_panoptic(records, seed, first, second, kind):
    segments = [{"id": 5, "category_id": 0}, {"id": 6, "category_id": 1}]
    if kind < 4:
        segments[0][("id", "category_id", "isthing", "score")[kind]] = first
    elif kind == 4:
        segments = [{"id": second, "category_id": first}]
    elif kind == 5:
        segments = [first, second]
    evaluator = PanopticQualityEvaluator("attacked_p")
    with one_sentence("Image 1"):
        evaluator.process([records[1]], [{"panoptic_seg": (ids_of(seed), segments)}])
        evaluator.evaluate()


@given(st.integers(0, 2**32), st.sampled_from([0, 1, 2, 3, 5]), st.sampled_from([H, W, 1, 0]))
@cases(20)
def test_semantic(records, seed, classes, height):
    chance = torch.Generator().manual_seed(seed)
    scores = torch.rand(classes, height, W, generator=chance)
    if seed % 3 == 0:
        scores = scores * float("nan")
    evaluator = SemanticEvaluator("attacked_p")
    evaluator.reset()
    with one_sentence(records[1]["file_name"]):
        evaluator.process([records[1]], [{"sem_seg": scores}])
        evaluator.evaluate()


@given(st.integers(0, 2**32), st.sampled_from([float("nan"), float("inf"), -1.0, 0.5, 1e30]))
@cases(20)
def test_instances(records, seed, odd):
    chance = np.random.default_rng(seed)
    count, size = int(chance.integers(0, 4)), ((H, W), (W, H), (1, 1))[chance.integers(3)]
    found = Instances(size)
    found.scores = torch.tensor(chance.choice([0.9, 0.3, odd], count), dtype=torch.float32)
    found.pred_classes = torch.tensor(chance.choice([0, 1, 2, -1, 10**6], count).astype(int))
    found.pred_boxes = Boxes(torch.tensor(chance.choice([0, 9, odd], (count, 4))).float())
    found.pred_masks = torch.tensor(chance.random((count, *size)) < 0.5)
    evaluator = InstanceEvaluator("attacked_i", str(records[0]))
    evaluator.reset()
    with one_sentence(records[2]["file_name"]):
        evaluator.process([records[2]], [{"instances": found}])
        evaluator.evaluate()
