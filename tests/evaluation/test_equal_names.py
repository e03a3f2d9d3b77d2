"""Classes of one name, and images of one name: figures and files of their own for each."""

import pytest

from d2_psformer.d2.data import DatasetCatalog
from d2_psformer.evaluation import (
    InstanceEvaluator,
    PanopticQualityEvaluator,
    SemanticEvaluator,
    SubmissionWriter,
)
from d2_psformer.utils.errors import UserError

CATEGORIES = [
    {"id": 3, "name": "cat", "isthing": 0},
    {"id": 5, "name": "cat", "isthing": 1},
    {"id": 12, "name": "grass", "isthing": 0},
    {"id": 40, "name": "cat", "isthing": 1},
]


@pytest.fixture
def results(make_panoptic, predict, tmp_path):
    """Figures where every class but thing 40 is predicted rightly."""
    data = make_panoptic(CATEGORIES)
    records = DatasetCatalog.get(data.name)
    evaluators = [
        PanopticQualityEvaluator(data.name),
        SemanticEvaluator(data.name),
        InstanceEvaluator(data.name, str(tmp_path)),
    ]
    found = {}
    for evaluator in evaluators:
        evaluator.reset()
        for record in records:
            output = predict(record, num_classes=4)
            for segment in output["panoptic_seg"][1]:
                if segment["category_id"] == 1:
                    segment["category_id"] = 0
            output["sem_seg"][1] = 0
            instances = output["instances"]
            output["instances"] = instances[instances.pred_classes == 0]
            evaluator.process([record], [output])
        found |= evaluator.evaluate()
    return found


def test_every_class_has_its_own_figures(results):
    panoptic, semantic, masks = (results[key] for key in ("panoptic_seg", "sem_seg", "segm"))
    assert panoptic["PQ-grass"] == panoptic["PQ-cat (3)"] == 100
    assert panoptic["PQ-cat (40)"] == 0 < panoptic["PQ-cat (5)"] < 100
    assert semantic["IoU-cat (3)"] == semantic["ACC-cat (5)"] == 100
    assert semantic["IoU-cat (40)"] == 0
    assert masks["AP-cat (5)"] == pytest.approx(100) and masks["AP-cat (40)"] == 0


def test_images_whose_names_some_systems_take_for_one(make_panoptic, tmp_path, monkeypatch):
    data = make_panoptic()
    records = DatasetCatalog.get(data.name)
    names = ("a/caf\u00e9.jpg", "b/CAFE\u0301.jpg")
    records = [{**r, "file_name": n} for r, n in zip(records, names, strict=False)]
    monkeypatch.setattr(DatasetCatalog, "get", lambda name: records)
    with pytest.raises(UserError, match="Images 100 and 101 would both be written to 'CAF"):
        SubmissionWriter(data.name, str(tmp_path))
