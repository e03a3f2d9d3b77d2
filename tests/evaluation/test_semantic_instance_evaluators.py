"""mIoU and AP from the panoptic annotation alone."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.data import read_panoptic_png
from d2_psformer.evaluation import InstanceEvaluator, SemanticEvaluator
from d2_psformer.evaluation.instance_evaluator import derive_instances
from d2_psformer.utils.errors import UserError

MIXED = [
    {"id": "b", "name": "cube", "isthing": 1},
    {"id": "a", "name": "sky", "isthing": 0},
    {"id": "d", "name": "ball", "isthing": 1},
    {"id": "c", "name": "grass", "isthing": 0},
]


def run(evaluator, records, outputs):
    evaluator.reset()
    for record, output in zip(records, outputs, strict=True):
        evaluator.process([record], [output])
    return evaluator.evaluate()


@pytest.fixture
def things_last(make_panoptic):
    """A data set whose contiguous ids are stuff 0, 1 and things 2, 3 in falling category id."""
    data = make_panoptic()
    name = f"{data.name}_things_last"
    metadata = MetadataCatalog.get(data.name)
    contiguous = {3: 0, 12: 1, 40: 2, 5: 3}
    new = {old: contiguous[i] for i, old in metadata.stuff_dataset_id_to_contiguous_id.items()}
    records = DatasetCatalog.get(data.name)
    for record in records:
        for segment in record["segments_info"]:
            segment["category_id"] = new[segment["category_id"]]
    DatasetCatalog.register(name, lambda: records)
    names = ["sky", "grass", "cube", "ball"]
    MetadataCatalog.get(name).set(
        thing_classes=names,
        stuff_classes=names,
        thing_dataset_id_to_contiguous_id={40: 2, 5: 3},
        stuff_dataset_id_to_contiguous_id={3: 0, 12: 1},
        panoptic_json=data.json,
        panoptic_root=data.folder,
        ignore_label=255,
    )
    yield name
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)


def test_real_images_predicted_rightly_score_100(coco_real, predict, tmp_path):
    records = DatasetCatalog.get(coco_real)
    semantic = SemanticEvaluator(coco_real)
    instance = InstanceEvaluator(coco_real, str(tmp_path))
    semantic.reset()
    instance.reset()
    for record in records:
        output = predict(record, num_classes=133)
        semantic.process([record], [output])
        instance.process([record], [output])
    assert semantic.evaluate()["sem_seg"]["mIoU"] == pytest.approx(100)
    results = instance.evaluate()
    for task in ("bbox", "segm"):
        assert results[task]["AP"] == pytest.approx(100)
        assert results[task]["AP-cat"] == pytest.approx(100)


def test_miou_by_hand(make_panoptic, predict):
    data = make_panoptic(num_images=2)
    records = DatasetCatalog.get(data.name)
    outputs = [predict(record, num_classes=4) for record in records]
    # Everything labelled 0, "ball": its IoU is its share of all labelled pixels.
    outputs = [{"sem_seg": torch.zeros_like(output["sem_seg"])} for output in outputs]
    labelled = sum((read_panoptic_png(r["pan_seg_file_name"]) > 0).sum() for r in records)
    balls = sum(s["area"] for r in records for s in r["segments_info"] if s["category_id"] == 0)
    results = run(SemanticEvaluator(data.name), records, outputs)["sem_seg"]
    assert results["IoU-ball"] == pytest.approx(100 * balls / labelled)
    assert results["mIoU"] == pytest.approx(results["IoU-ball"] / 4)
    assert results["pACC"] == pytest.approx(results["IoU-ball"])


def test_things_may_have_any_contiguous_ids(things_last, predict, tmp_path):
    records = DatasetCatalog.get(things_last)
    outputs = [predict(record, num_classes=4) for record in records]
    results = run(InstanceEvaluator(things_last, str(tmp_path)), records, outputs)
    assert results["segm"]["AP"] == results["bbox"]["AP"] == pytest.approx(100)
    semantic = run(SemanticEvaluator(things_last), records, outputs)["sem_seg"]
    assert semantic["IoU-cube"] == semantic["mIoU"] == pytest.approx(100)


def test_ap_goes_to_the_right_class(things_last, predict, tmp_path):
    records = DatasetCatalog.get(things_last)
    outputs = [predict(record) for record in records]
    for output in outputs:
        instances = output["instances"]
        output["instances"] = instances[instances.pred_classes == 2]
    results = run(InstanceEvaluator(things_last, str(tmp_path)), records, outputs)
    assert results["segm"]["AP-cube"] == pytest.approx(100)
    assert results["segm"]["AP-ball"] == pytest.approx(0)


def test_string_category_ids(make_panoptic, predict, tmp_path):
    data = make_panoptic(categories=MIXED)
    records = DatasetCatalog.get(data.name)
    outputs = [predict(record, num_classes=4) for record in records]
    results = run(InstanceEvaluator(data.name, str(tmp_path)), records, outputs)
    assert results["bbox"]["AP-cube"] == results["segm"]["AP"] == pytest.approx(100)


def test_no_predictions_are_nan_not_an_error(make_panoptic, predict, tmp_path):
    data = make_panoptic(num_images=1)
    records = DatasetCatalog.get(data.name)
    output = predict(records[0])
    output["instances"] = output["instances"][output["instances"].scores > 2]
    results = run(InstanceEvaluator(data.name, str(tmp_path)), records, [output])
    assert np.isnan(results["segm"]["AP"])


def test_instances_are_derived_once_and_again_for_other_annotation(make_panoptic, tmp_path):
    data = make_panoptic()
    InstanceEvaluator(data.name, str(tmp_path))
    (path,) = tmp_path.glob("*_instances_*.json")
    before = path.stat().st_mtime_ns
    content = json.loads(path.read_text())
    assert len(content["images"]) == 4 and {c["id"] for c in content["categories"]} == {5, 40}
    InstanceEvaluator(data.name, str(tmp_path))
    assert path.stat().st_mtime_ns == before
    annotation = json.loads(Path(data.json).read_text())
    Path(data.json).write_text(json.dumps({**annotation, "info": "changed"}))
    InstanceEvaluator(data.name, str(tmp_path))
    assert len(list(tmp_path.glob("*_instances_*.json"))) == 2


def test_the_data_sets_own_instance_annotation_is_preferred(things_last, tmp_path):
    own = tmp_path / "instances.json"
    categories = [{"id": 5, "name": "ball"}, {"id": 40, "name": "cube"}]
    records = DatasetCatalog.get(things_last)
    own.write_text(
        json.dumps({**derive_instances(records, {2: 40, 3: 5}), "categories": categories})
    )
    MetadataCatalog.get(things_last).json_file = str(own)
    InstanceEvaluator(things_last, str(tmp_path / "derived"))
    assert not (tmp_path / "derived").exists()


def test_the_instance_annotations_ids_may_be_others(things_last, predict, tmp_path):
    """Names decide: balls are 40 and cubes 5 there, the reverse of the panoptic annotation."""
    own = tmp_path / "instances.json"
    categories = [{"id": 40, "name": "ball"}, {"id": 5, "name": "cube"}]
    records = DatasetCatalog.get(things_last)
    own.write_text(
        json.dumps({**derive_instances(records, {2: 5, 3: 40}), "categories": categories})
    )
    figures = []
    for json_file in (None, str(own)):
        if json_file:
            MetadataCatalog.get(things_last).json_file = json_file
        evaluator = InstanceEvaluator(things_last, str(tmp_path / "derived"))
        evaluator.reset()
        for record in records:
            evaluator.process([record], [predict(record)])
        figures.append(evaluator.evaluate()["segm"])
    assert figures[0]["AP"] > 90
    assert figures[1] == pytest.approx(figures[0], nan_ok=True)

    others = {**json.loads(own.read_text()), "annotations": []}
    own.write_text(json.dumps({**others, "categories": [{"id": 9, "name": "cone"}]}))
    with pytest.raises(UserError, match="only the second has thing 'cube', thing 'ball'"):
        InstanceEvaluator(things_last, str(tmp_path))


@pytest.mark.parametrize("content", [[], {}, {"categories": []}, {"categories": [{"id": 5}]}])
def test_an_instance_annotation_of_another_format(things_last, tmp_path, content):
    own = tmp_path / "instances.json"
    own.write_text(json.dumps(content))
    MetadataCatalog.get(things_last).json_file = str(own)
    with pytest.raises(UserError, match=r"instances\.json"):
        InstanceEvaluator(things_last, str(tmp_path))


def test_no_pixel_of_any_class_gives_no_figure_and_no_warning(make_panoptic):
    evaluator = SemanticEvaluator(make_panoptic().name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = run(evaluator, [], [])["sem_seg"]
    assert np.isnan(results["mIoU"]) and np.isnan(results["mACC"])
