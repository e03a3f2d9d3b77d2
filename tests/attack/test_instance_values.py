"""COCO instance JSON with wrong values: registered, loaded, checked, trained on and evaluated."""

import json

import pytest
import torch
from attack_cases import cases
from attack_values import changed, check_registered, forget, try_all
from hypothesis import given
from hypothesis import strategies as st
from small_data import H, W, instance_content, write_instances

from d2_psformer.d2.data import DatasetCatalog
from d2_psformer.d2.data import transforms as T
from d2_psformer.d2.structures import Boxes, Instances
from d2_psformer.data import register_instances
from d2_psformer.data.ground_truth import read_ground_truth
from d2_psformer.evaluation import InstanceEvaluator

NAME = "attacked_instances"
SHEAR = T.TransformList([T.HFlipTransform(W), T.NoOpTransform()])


@pytest.fixture
def root(tmp_path):
    write_instances(tmp_path)
    yield tmp_path
    forget(NAME, f"{NAME}_instance_evaluation")


def attempts(root):
    """Everything that reads an instance JSON."""

    def register() -> list[dict]:
        forget(NAME, f"{NAME}_instance_evaluation")
        register_instances(NAME, root / "images", root / "instances.json")
        return DatasetCatalog.get(NAME)

    def check() -> None:
        register()
        check_registered(NAME)

    def train() -> None:
        for record in register():
            if "annotations" in record:
                truth = read_ground_truth(record, (H, W), 3)
                truth.targets(SHEAR, (H, W), keep_empty=False)

    def evaluate() -> None:
        records = register()
        evaluator = InstanceEvaluator(NAME, str(root))
        evaluator.reset()
        found = Instances((H, W), pred_classes=torch.tensor([0, 1]), scores=torch.tensor([0.9, 1]))
        found.pred_boxes = Boxes(torch.tensor([[2.0, 2, 12, 10], [0, 0, 5, 5]]))
        found.pred_masks = torch.zeros(2, H, W, dtype=torch.bool)
        found.pred_masks[:, 2:10, 2:12] = True
        for record in records:
            evaluator.process([record], [{"instances": found}])
        evaluator.evaluate()

    yield register
    yield check
    yield train
    yield evaluate


@given(st.integers(0, 2**40))
@cases(40)
def test_wrong_values(root, seed):
    content, _ = changed(instance_content(), seed)
    (root / "instances.json").write_text(json.dumps(content))
    try_all(attempts(root), root, NAME)
