"""Panoptic quality against figures and programs that are not ours."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from panoptic_pairs import CATEGORIES, count, panoptic_pair

from d2_psformer.evaluation import PanopticQuality
from d2_psformer.evaluation.panoptic_quality import evaluate_files

CASES = Path(
    os.environ.get("PSFORMER_PQ_CASES", Path(__file__).resolve().parents[2] / "../shared/pq_cases")
)
# How exact the published figures are: computed in single precision, given to four decimals.
PUBLISHED = {"deeplab2_team": 1e-7, "torchmetrics_doc": 5e-5}


@pytest.fixture(params=sorted(PUBLISHED))
def case_folder(request):
    folder = CASES / request.param
    if not folder.is_dir():
        pytest.skip("no published cases: set PSFORMER_PQ_CASES")
    return folder


def test_published_cases(case_folder):
    folder = case_folder
    results = evaluate_files(str(folder / "gt.json"), str(folder / "pred.json")).results()
    expected = json.loads((folder / "expected.json").read_text())
    for key in ("PQ", "SQ", "RQ"):
        assert results["All"][key.lower()] == pytest.approx(
            expected["expected"][key], abs=PUBLISHED[folder.name]
        )
    for split, figures in expected.get("panopticapi", {}).items():
        assert results[split] == pytest.approx(figures, abs=1e-9)


def test_published_cases_are_exactly_panopticapis(case_folder):
    api = pytest.importorskip("panopticapi.evaluation", reason="panopticapi is not installed")
    gt, pred = (json.loads((case_folder / f"{side}.json").read_text()) for side in ("gt", "pred"))
    categories = {c["id"]: c for c in gt["categories"]}
    pairs = list(zip(gt["annotations"], pred["annotations"], strict=True))
    stat = api.pq_compute_single_core(
        0, pairs, case_folder / "gt", case_folder / "pred", categories
    )
    ours = evaluate_files(str(case_folder / "gt.json"), str(case_folder / "pred.json")).results()
    assert ours["All"] == pytest.approx(stat.pq_average(categories, None)[0], abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(pair=panoptic_pair(crowds=False))
def test_equal_to_torchmetrics_without_crowds(pair):
    detection = pytest.importorskip("torchmetrics.functional.detection")
    unlabelled, things = 90, [1, 4, 7, 8]
    tensors = []
    for (ids, segments), void in zip(pair, (-1, unlabelled), strict=True):
        # Void of the ground truth is an unknown category. An unlabelled prediction is a stuff
        # class of its own: as an unknown one torchmetrics would count it differently.
        category = np.full_like(ids, void)
        for s in segments:
            category[ids == s["id"]] = s["category_id"]
        tensors.append(torch.from_numpy(np.stack([category, ids], axis=-1))[None])
    target, preds = tensors
    theirs = detection.panoptic_quality(
        preds, target, things, [unlabelled], return_sq_and_rq=True, return_per_class=True
    ).reshape(-1, 3)[: len(things)]
    ours = count([pair]).results()["per_class"]
    for category_id, (pq, sq, rq) in zip(things, theirs.tolist(), strict=True):
        row = ours[category_id]
        expected = [0.0 if np.isnan(row[k]) else row[k] for k in ("pq", "sq", "rq")]
        # Its FP of a category that does not occur are none, hence 0 where we have no figure.
        assert [pq, sq, rq] == pytest.approx(expected, abs=1e-6)


@given(pairs=st.lists(panoptic_pair(), min_size=1, max_size=3), split=st.integers(0, 3))
def test_sizes_partition_the_counts(pairs, split):
    quality = PanopticQuality(CATEGORIES, size_bounds=(split, 3 * split + 1))
    for image_id, (gt, pred) in enumerate(pairs):
        quality.add(image_id, *gt, *pred)
    whole = count(pairs)
    for name in ("iou", "tp", "fp", "fn"):
        by_size, total = getattr(quality, name), getattr(whole, name)
        np.testing.assert_allclose(by_size.sum(axis=0), total.sum(axis=0), atol=1e-12)
