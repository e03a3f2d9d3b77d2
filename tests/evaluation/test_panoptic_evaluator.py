"""The streaming evaluator: keys, figures, processes, and Detectron2's own beside it."""

import copy
import json
import logging
import math
from pathlib import Path

import pytest

from d2_psformer.classes import Classes
from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.d2.panoptic_evaluation import COCOPanopticEvaluator
from d2_psformer.data.coco_panoptic import PanopticFiles
from d2_psformer.evaluation import PanopticQualityEvaluator
from d2_psformer.evaluation.panoptic_evaluator import MAX_WAITING, flat_results, with_dataset_ids
from d2_psformer.evaluation.pq_counter import PanopticQuality
from d2_psformer.utils.errors import UserError

KEYS = ["PQ", "SQ", "RQ", "PQ_th", "SQ_th", "RQ_th", "PQ_st", "SQ_st", "RQ_st"]


def run(evaluator, records, outputs):
    evaluator.reset()
    for record, output in zip(records, outputs, strict=True):
        evaluator.process([record], [output])
    return evaluator.evaluate()


def shifted(records, predict):
    return [predict(record, shift=number) for number, record in enumerate(records)]


def test_right_predictions_score_100_under_the_known_keys(make_panoptic, predict):
    data = make_panoptic()
    records = DatasetCatalog.get(data.name)
    found = run(PanopticQualityEvaluator(data.name), records, [predict(r) for r in records])
    assert list(found) == ["panoptic_seg"]
    results = found["panoptic_seg"]
    assert list(results)[:9] == KEYS
    assert {key: results[key] for key in KEYS} == dict.fromkeys(KEYS, 100.0)
    assert results["PQ-ball"] == results["PQ-sky"] == results["PQ_th_small"] == 100.0
    assert math.isnan(results["PQ_large"])


def test_wrong_predictions_are_counted_and_left_as_they_are(make_panoptic, predict):
    data = make_panoptic()
    records = DatasetCatalog.get(data.name)
    outputs = shifted(records, predict)
    before = copy.deepcopy([output["panoptic_seg"][1] for output in outputs])
    results = run(PanopticQualityEvaluator(data.name), records, outputs)["panoptic_seg"]
    assert 0 < results["PQ_th"] < 100
    assert [output["panoptic_seg"][1] for output in outputs] == before


def test_the_classes_of_the_file_are_those_of_the_data_set_by_name(make_panoptic, predict):
    """The file has other ids than the data set was registered with."""
    data = make_panoptic()
    records = DatasetCatalog.get(data.name)
    path, ids = Path(data.json), {3: 40, 5: 3, 12: 5, 40: 12}
    content = json.loads(path.read_text())
    for category in content["categories"]:
        category["id"] = ids[category["id"]]
    for annotation in content["annotations"]:
        for segment in annotation["segments_info"]:
            segment["category_id"] = ids[segment["category_id"]]
    path.write_text(json.dumps(content))
    outputs = [predict(r) for r in records]
    found = run(PanopticQualityEvaluator(data.name), records, outputs)
    assert found["panoptic_seg"]["PQ"] == 100.0
    content["categories"][0]["name"] = "sea"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"only the first has stuff 'sea'.*has stuff 'sky'"):
        PanopticQualityEvaluator(data.name)


def test_threads_that_read_change_no_bit(make_panoptic, predict):
    """More images than may wait for their ground truth, counted one after the other."""
    data = make_panoptic(num_images=MAX_WAITING + 5)
    records = DatasetCatalog.get(data.name)
    outputs = shifted(records, predict)
    found = run(PanopticQualityEvaluator(data.name), records, outputs)["panoptic_seg"]
    truth = PanopticFiles(data.json, data.folder)
    ids = Classes.from_metadata(MetadataCatalog.get(data.name)).category_ids
    expected = PanopticQuality(truth.categories)
    for record, output in zip(records, outputs, strict=True):
        image_id, (pred_map, segments) = record["image_id"], output["panoptic_seg"]
        segments = with_dataset_ids(segments, ids, image_id)
        expected.add(image_id, *truth.read(image_id)[-1], pred_map.numpy(), segments)
    assert str(found) == str(dict(flat_results(expected.results())))


def test_reset_forgets_what_waits(make_panoptic, predict):
    data = make_panoptic()
    records = DatasetCatalog.get(data.name)
    evaluator = PanopticQualityEvaluator(data.name)
    evaluator.process([records[0]], [predict(records[0], shift=20)])
    results = run(evaluator, records, [predict(r) for r in records])["panoptic_seg"]
    assert results["PQ"] == 100


def test_reset_starts_again(make_panoptic, predict):
    data = make_panoptic()
    records = DatasetCatalog.get(data.name)
    evaluator = PanopticQualityEvaluator(data.name)
    run(evaluator, records, [predict(r, shift=20) for r in records])
    results = run(evaluator, records, [predict(r) for r in records])["panoptic_seg"]
    assert results["PQ"] == 100


@pytest.mark.parametrize(("things", "stuff", "missing"), [(True, False, "st"), (False, True, "th")])
def test_a_split_without_classes_is_nan_and_a_dash(
    make_panoptic, predict, caplog, things, stuff, missing
):
    data = make_panoptic(things=things, stuff=stuff)
    records = DatasetCatalog.get(data.name)
    evaluator = PanopticQualityEvaluator(data.name)
    with caplog.at_level(logging.INFO, logger="d2_psformer.evaluation.panoptic_evaluator"):
        results = run(evaluator, records, [predict(r) for r in records])["panoptic_seg"]
    assert results["PQ"] == 100 and math.isnan(results[f"PQ_{missing}"])
    row = {"st": "Stuff", "th": "Things"}[missing]
    assert [row, "|", "-", "-", "-", "0"] in [line.split() for line in caplog.text.splitlines()]


def test_missing_images_are_told(make_panoptic, predict, caplog):
    data = make_panoptic()
    records = DatasetCatalog.get(data.name)[:3]
    with caplog.at_level(logging.WARNING, logger="d2_psformer.evaluation.panoptic_evaluator"):
        run(PanopticQualityEvaluator(data.name), records, [predict(r) for r in records])
    assert "over 3 annotations, its ground truth has 4" in caplog.text


def test_unknown_classes_and_images_are_told(make_panoptic, predict):
    data = make_panoptic()
    record = DatasetCatalog.get(data.name)[0]
    evaluator = PanopticQualityEvaluator(data.name)
    output = predict(record)
    with pytest.raises(UserError, match="Image 7 has no annotation in"):
        evaluator.process([{**record, "image_id": 7}], [output])
        evaluator.evaluate()
    output["panoptic_seg"][1][0]["category_id"] = 60
    with pytest.raises(UserError, match="class 60, which the data set lacks"):
        evaluator.process([record], [output])


@pytest.mark.skipif(COCOPanopticEvaluator is None, reason="needs the backend detectron2")
def test_equal_to_detectron2s_evaluator(make_panoptic, predict):
    pytest.importorskip("panopticapi", reason="panopticapi is not installed")
    data = make_panoptic()
    records = DatasetCatalog.get(data.name)
    outputs = shifted(records, predict)
    ours = run(PanopticQualityEvaluator(data.name), records, copy.deepcopy(outputs))
    theirs = run(COCOPanopticEvaluator(data.name), records, outputs)["panoptic_seg"]
    assert list(theirs) == KEYS
    assert {key: ours["panoptic_seg"][key] for key in KEYS} == pytest.approx(theirs, abs=1e-9)


def test_percent_of_fractions():
    quality = PanopticQuality([{"id": 1, "name": "a", "isthing": 1}])
    flat = flat_results(quality.results())
    assert all(math.isnan(value) for value in flat.values())
