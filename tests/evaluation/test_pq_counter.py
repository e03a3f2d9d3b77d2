"""The counter on cases small enough to count by hand, and its bad input."""

import functools
import math
import operator

import numpy as np
import pytest

from d2_psformer.evaluation import PanopticQuality
from d2_psformer.evaluation.panoptic_evaluator import with_dataset_ids
from d2_psformer.evaluation.pq_segments import joint_histogram
from d2_psformer.utils.errors import UserError

CATEGORIES = [
    {"id": 1, "name": "cat", "isthing": 1},
    {"id": 2, "name": "dog", "isthing": 1},
    {"id": 9, "name": "sky", "isthing": 0},
]
CROWD = {"iscrowd": 1}


def segment(segment_id, category_id=1, **extra):
    return {"id": segment_id, "category_id": category_id, **extra}


def row(*ids):
    """A map of one row, each id on ten pixels."""
    return np.repeat(np.array([ids]), 10, axis=1)


def count(gt_map, gt_segments, pred_map, pred_segments, **options):
    quality = PanopticQuality(CATEGORIES, **options)
    quality.add("img", gt_map, gt_segments, pred_map, pred_segments)
    return quality


def cell(quality, category_id=1):
    r = quality.results()["per_class"][category_id]
    return r["tp"], r["fp"], r["fn"]


def test_a_match_needs_more_than_half():
    gt = [segment(5)]
    exactly_half = count(row(5, 5), gt, row(7, 0), [segment(7)])
    assert cell(exactly_half) == (0, 1, 1)
    more = count(row(5, 5, 5), gt, row(7, 7, 0), [segment(7)])
    assert cell(more) == (1, 0, 0)
    assert more.results()["All"] == pytest.approx({"pq": 2 / 3, "sq": 2 / 3, "rq": 1, "n": 1})


def test_the_class_must_agree():
    quality = count(row(5), [segment(5)], row(7), [segment(7, 2)])
    assert cell(quality, 1) == (0, 0, 1)
    assert cell(quality, 2) == (0, 1, 0)


def test_void_is_taken_out_of_the_union():
    # 20 px in both, 10 px of the prediction on void: IoU 20 / 20.
    quality = count(row(5, 5, 0), [segment(5)], row(7, 7, 7), [segment(7)])
    assert quality.results()["per_class"][1]["iou"] == 1.0


def test_a_prediction_mostly_on_void_and_its_class_of_crowd_is_ignored():
    gt = [segment(5, 2), segment(6, 1, **CROWD)]
    gt_map = row(0, 6, 5)
    assert cell(count(gt_map, gt, row(7, 7, 7), [segment(7, 1)]), 1) == (0, 0, 0)
    # Crowd of another class is no excuse: only a third is void.
    assert cell(count(gt_map, gt, row(7, 7, 7), [segment(7, 9)]), 9) == (0, 1, 0)
    # Exactly half is not enough.
    assert cell(count(row(6, 5), gt, row(7, 7), [segment(7, 1)]), 1) == (0, 1, 0)


def test_crowd_is_neither_missed_nor_matched():
    quality = count(row(6), [segment(6, **CROWD)], row(7), [segment(7)])
    assert cell(quality) == (0, 0, 0)


def test_the_ground_truths_area_comes_from_its_json():
    quality = count(row(5, 5, 0), [segment(5, area=25)], row(7, 7, 0), [segment(7, area=1)])
    assert quality.results()["per_class"][1]["iou"] == 20 / 25


def test_splits_without_classes_are_nan():
    results = count(row(5), [segment(5)], row(7), [segment(7)]).results()
    assert results["All"]["n"] == results["Things"]["n"] == 1
    assert results["Stuff"]["n"] == 0
    assert math.isnan(results["Stuff"]["pq"])
    assert math.isnan(results["per_class"][9]["pq"])


def test_empty_images_count_nothing():
    empty = np.zeros((3, 4), np.int32)
    quality = count(empty, [], empty, [])
    assert quality.num_images == 1
    assert quality.results()["All"]["n"] == 0
    quality.add("no pixels", empty[:0], [], empty[:0], [])
    assert quality.num_images == 2


def test_sizes_go_by_ground_truth_and_false_positives_by_their_own():
    gt = [segment(1), segment(2), segment(3, 2)]  # 10, 20 and 40 px
    gt_map = row(1, 2, 2, 3, 3, 3, 3, 0, 0)
    pred = [segment(1), segment(8, 2), segment(9, 9)]  # match, 50 px too wide, 10 px on class 1
    pred_map = row(1, 9, 8, 8, 8, 8, 8, 0, 0)
    quality = count(gt_map, gt, pred_map, pred, size_bounds=(20, 40))
    assert quality.tp.sum(axis=1).tolist() == [1, 0, 1]
    assert quality.fn.sum(axis=1).tolist() == [0, 1, 0]
    assert quality.fp.sum(axis=1).tolist() == [1, 0, 0]
    assert quality.results()["by_size"]["large"]["Things"]["pq"] == 40 / 50


def test_in_pieces_is_as_at_once():
    rng = np.random.default_rng(1)
    pieces, whole = [PanopticQuality(CATEGORIES) for _ in range(4)], PanopticQuality(CATEGORIES)
    for number in range(12):
        gt_map, pred_map = rng.integers(0, 3, (2, 6, 6))
        pred_map = np.where(rng.random((6, 6)) < 0.7, gt_map, pred_map)
        case = [
            (ids, [segment(int(i), CATEGORIES[i]["id"]) for i in np.unique(ids) if i])
            for ids in (gt_map, pred_map)
        ]
        for quality in (whole, pieces[number % 4]):
            quality.add(number, *case[0], *case[1])
    total = functools.reduce(operator.add, pieces)
    assert total.num_images == 12
    for name in ("tp", "fp", "fn"):
        np.testing.assert_array_equal(getattr(total, name), getattr(whole, name))
    np.testing.assert_allclose(total.iou, whole.iou, rtol=1e-12)


def test_unlike_counters_do_not_add():
    with pytest.raises(ValueError, match="different categories or size bounds"):
        PanopticQuality(CATEGORIES) + PanopticQuality(CATEGORIES[:1])
    with pytest.raises(ValueError, match="different categories or size bounds"):
        PanopticQuality(CATEGORIES) + PanopticQuality(CATEGORIES, size_bounds=(1, 2))


def test_inputs_are_left_as_they_are():
    maps = row(5), row(7)
    lists = [segment(5, iscrowd=0)], [segment(7, isthing=True)]
    count(maps[0], lists[0], maps[1], lists[1])
    assert lists == ([segment(5, iscrowd=0)], [segment(7, isthing=True)])


@pytest.mark.parametrize(("iscrowd", "counts"), [(True, (0, 0, 0)), (np.int64(0), (1, 0, 0))])
def test_flags_of_other_types(iscrowd, counts):
    gt = [segment(np.int32(5), iscrowd=iscrowd, area=np.int64(10))]
    assert cell(count(row(5), gt, row(7), [segment(np.uint8(7))])) == counts


@pytest.mark.parametrize("isthing", ["0", 2, None, 1.0])
def test_categories_are_things_or_stuff(isthing):
    with pytest.raises(UserError, match=f"Category 4 has isthing {isthing!r}: give 1 for things"):
        PanopticQuality([{"id": 4, "name": "a", "isthing": isthing}])


def test_missing_fields_are_named():
    with pytest.raises(UserError, match="Category 4 has isthing None: give 1 for things"):
        PanopticQuality([{"id": 4, "name": "a"}])
    with pytest.raises(UserError, match="Image img: segments_info has the segment id None"):
        count(row(0), [], row(7), [{"category_id": 1}])
    with pytest.raises(UserError, match="segment 7 has the unknown category_id None"):
        count(row(0), [], row(7), [{"id": 7}])
    with pytest.raises(UserError, match="predicted segment 7 has class None, which"):
        with_dataset_ids([{"id": 7}], {1: 1}, "img")


@pytest.mark.parametrize("area", [-1, 4.5, math.nan, math.inf, True, "10", None, 21])
def test_impossible_areas(area):
    sentence = f"Image img: ground truth segment 5 has area {area!r}: .* of which the image has 20"
    with pytest.raises(UserError, match=sentence):
        count(row(5, 5), [segment(5, area=area)], row(0, 0), [])


@pytest.mark.parametrize("iscrowd", ["0", 2, None, 1.0])
def test_crowds_are_0_or_1(iscrowd):
    with pytest.raises(UserError, match=f"segment 5 has iscrowd {iscrowd!r}: write 1"):
        count(row(5), [segment(5, iscrowd=iscrowd)], row(0), [])


@pytest.mark.parametrize("segment_id", [7.0, "7", None, True])
def test_ids_that_are_no_integers(segment_id):
    with pytest.raises(UserError, match=f"Image img: segments_info has .* id {segment_id!r}"):
        count(row(0), [], row(7), [segment(segment_id)])
    with pytest.raises(UserError, match=f"Image img: segments_info has .* id {segment_id!r}"):
        with_dataset_ids([segment(segment_id)], {1: 1}, "img")


@pytest.mark.parametrize("contiguous", [1.0, "1", [1], True])
def test_predicted_classes_that_are_no_integers(contiguous):
    with pytest.raises(UserError, match=r"predicted segment 7 has class .* the data set lacks"):
        with_dataset_ids([segment(7, contiguous)], {1: 1}, "img")


@pytest.mark.parametrize(
    ("gt", "pred", "sentence"),
    [
        ((row(5.0), []), (row(0), []), "the ground truth has shape .* type float64: give segment"),
        ((row(0), []), (row(True), []), "the prediction has shape .* type bool: give segment"),
        ((row(0)[0], []), (row(0)[0], []), r"has shape \(10,\) and type int64: give segment"),
        ((row(5), []), (row(0), []), "Image img: ground truth segment 5 is in the map but not"),
        ((row(0), []), (row(5), []), "Image img: prediction segment 5 is in the map but not"),
        ((row(0), [segment(4)]), (row(0), []), "ground truth segment 4 .* owns no pixel"),
        ((row(0), []), (row(0), [segment(4)]), "prediction segment 4 .* owns no pixel"),
        ((row(0), []), (row(5), [segment(5)] * 2), "prediction segment 5 is listed twice"),
        ((row(0), []), (row(5), [segment(5, 77)]), "segment 5 has the unknown category_id 77"),
        ((row(0, 0), []), (row(0), []), r"\(1, 20\).*\(1, 10\)"),
        ((row(0), []), (row(-1), []), "prediction holds segment ids from -1 to -1"),
        ((row(5), [segment(5, area=3)]), (row(5), [segment(5)]), "area 3 .* at least 10 pixels"),
    ],
)
def test_what_does_not_fit_is_told_in_one_sentence(gt, pred, sentence):
    quality = PanopticQuality(CATEGORIES)
    with pytest.raises(UserError, match=sentence):
        quality.add("img", *gt, *pred)
    assert quality.num_images == 0
    assert not quality.fp.any() and not quality.fn.any()


def test_the_histogram_counts_every_pair_across_rows():
    rng = np.random.default_rng(2)
    gt = rng.choice([0, 7, 2**24 - 1, 2**31 - 1], (17, 23))
    pred = rng.choice([0, 1, 2**30], (17, 23))
    expected = {}
    for pair in zip(gt.ravel().tolist(), pred.ravel().tolist(), strict=True):
        expected[pair] = expected.get(pair, 0) + 1
    assert joint_histogram(1, gt, pred) == expected
