"""Submission files, read back by what evaluates them."""

import json
import zipfile

import pytest

from d2_psformer.d2.data import DatasetCatalog
from d2_psformer.evaluation import PanopticQualityEvaluator, SubmissionWriter
from d2_psformer.evaluation.panoptic_quality import evaluate_files
from d2_psformer.utils.errors import UserError


def run(evaluator, records, outputs):
    evaluator.reset()
    for record, output in zip(records, outputs, strict=True):
        evaluator.process([record], [output])
    return evaluator.evaluate()


def test_the_unpacked_zip_has_the_same_pq(make_panoptic, predict, tmp_path):
    data = make_panoptic()
    records = DatasetCatalog.get(data.name)
    outputs = [predict(record, shift=2 * n) for n, record in enumerate(records)]
    direct = run(PanopticQualityEvaluator(data.name), records, outputs)["panoptic_seg"]
    assert run(SubmissionWriter(data.name, str(tmp_path / "out")), records, outputs) == {}

    stem = f"panoptic_{data.name}_results"
    with zipfile.ZipFile(tmp_path / "out" / f"{stem}.zip") as archive:
        archive.extractall(tmp_path / "unpacked")
        assert len(archive.namelist()) == 5
    written = tmp_path / "unpacked" / f"{stem}.json"
    results = evaluate_files(data.json, str(written)).results()
    assert 100 * results["All"]["pq"] == pytest.approx(direct["PQ"], abs=1e-9)
    assert 0 < direct["PQ"] < 100
    entries = json.loads(written.read_text())["annotations"]
    assert [entry["image_id"] for entry in entries] == [100, 101, 102, 103]
    assert {s["category_id"] for e in entries for s in e["segments_info"]} == {3, 5, 12, 40}
    assert all(set(s) == {"id", "category_id"} for e in entries for s in e["segments_info"])


def test_images_of_one_name_are_told(make_panoptic, tmp_path, monkeypatch):
    data = make_panoptic()
    records = DatasetCatalog.get(data.name)
    records[1] = {**records[1], "file_name": f"elsewhere/{records[0]['file_name']}"}
    monkeypatch.setattr(DatasetCatalog, "get", lambda name: records)
    with pytest.raises(UserError, match=r"Images 100 and 101 would both be written to '0\.png'"):
        SubmissionWriter(data.name, str(tmp_path))
