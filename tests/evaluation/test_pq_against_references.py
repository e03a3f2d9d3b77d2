"""Panoptic quality against figures and programs that are not ours."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from d2_psformer.data import write_panoptic_png
from d2_psformer.evaluation import PanopticQuality
from d2_psformer.evaluation.panoptic_quality import evaluate_files

# The category 50 never occurs.
CATEGORIES = [{"id": i, "name": str(i), "isthing": int(i % 2)} for i in (1, 4, 7, 8, 50)]
CASES = Path(
    os.environ.get("PSFORMER_PQ_CASES", Path(__file__).resolve().parents[2] / "../shared/pq_cases")
)
# How exact the published figures are: computed in single precision, given to four decimals.
PUBLISHED = {"deeplab2_team": 1e-7, "torchmetrics_doc": 5e-5}


@st.composite
def panoptic_pair(draw, crowds=True):
    """Ground truth and prediction, small, with void and ids of up to 24 bits, often overlapping."""
    labels = st.integers(0, 4)
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9))
    gt = draw(hnp.arrays(np.int64, shape, elements=labels))
    noise = draw(hnp.arrays(np.int64, shape, elements=labels))
    keep = draw(hnp.arrays(bool, shape, fill=st.just(True)))
    classes = draw(st.lists(st.sampled_from([1, 4, 7, 8]), min_size=5, max_size=5))
    crowd = draw(st.lists(st.booleans(), min_size=5, max_size=5)) if crowds else [False] * 5
    pair = []
    for labels_map, iscrowd in ((gt, crowd), (np.where(keep, gt, noise), [False] * 5)):
        new_ids = draw(st.lists(st.integers(1, 2**24 - 1), min_size=4, max_size=4, unique=True))
        ids = np.array([0, *new_ids])
        segments = [
            {
                "id": int(ids[k]),
                "category_id": classes[k],
                "iscrowd": int(iscrowd[k]),
                "area": int((labels_map == k).sum()),
            }
            for k in np.unique(labels_map)
            if k
        ]
        pair.append((ids[labels_map], segments))
    return pair


def count(pairs):
    quality = PanopticQuality(CATEGORIES)
    for image_id, (gt, pred) in enumerate(pairs):
        quality.add(image_id, *gt, *pred)
    return quality


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
@given(pairs=st.lists(panoptic_pair(), min_size=1, max_size=4))
def test_equal_to_panopticapi(pairs, tmp_path_factory):
    api = pytest.importorskip("panopticapi.evaluation", reason="panopticapi is not installed")
    folder = tmp_path_factory.mktemp("pq")
    annotations = []
    for image_id, sides in enumerate(pairs):
        entries = []
        for side, (ids, segments) in zip(("gt", "pred"), sides, strict=True):
            name = f"{side}{image_id}.png"
            write_panoptic_png(folder / name, ids)
            copies = [dict(segment) for segment in segments]  # it writes areas into them
            entries.append({"image_id": image_id, "file_name": name, "segments_info": copies})
        annotations.append(tuple(entries))
    categories = {c["id"]: c for c in CATEGORIES}
    stat = api.pq_compute_single_core(0, annotations, folder, folder, categories)
    results = count(pairs).results()
    for category_id in categories:
        ours, theirs = results["per_class"][category_id], stat[category_id]
        assert [ours[k] for k in ("tp", "fp", "fn")] == [theirs.tp, theirs.fp, theirs.fn]
        assert ours["iou"] == pytest.approx(theirs.iou, abs=1e-9)
    for split, isthing in (("All", None), ("Things", True), ("Stuff", False)):
        if results[split]["n"]:  # panopticapi divides by zero
            averages, _ = stat.pq_average(categories, isthing)
            assert results[split] == pytest.approx(averages, abs=1e-9)


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
