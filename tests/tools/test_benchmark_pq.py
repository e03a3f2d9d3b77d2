"""The benchmark of panoptic quality compares evaluators that agree."""

import argparse
import logging

import numpy as np
import pytest
from benchmarks import plain_pq, pq
from benchmarks.coco_sized import coco_sized
from hypothesis import given, settings
from hypothesis import strategies as st

from d2_psformer.d2.data import DatasetCatalog
from d2_psformer.evaluation import PanopticQuality

CATEGORIES = [{"id": i, "name": str(i), "isthing": i % 2} for i in (1, 2, 3)]


@pytest.fixture(autouse=True)
def _clean():
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def options(monkeypatch):
    """Few images; generated, so that this needs no data."""
    monkeypatch.setattr("benchmarks.coco_sized.DISTINCT_SCENES", 2)
    parser = argparse.ArgumentParser()
    pq.add_options(parser)
    chosen = parser.parse_args(["--images", "3"])
    chosen.real_data, chosen.rounds = None, 1
    return chosen


def test_rows_belong_together(options, capsys):
    rows = {row["evaluator"]: row for row in pq.measure(options)}
    assert rows.keys() >= {pq.OURS, pq.FILES}
    ours = rows[pq.OURS]
    assert 0 < ours["PQ"] < 100 and ours["PQ"] == pytest.approx(rows[pq.FILES]["PQ"], abs=1e-9)
    for row in rows.values():
        assert row["times ours"] == pytest.approx(row["ms per image"] / ours["ms per image"])
        assert row["seconds for 5000"] == pytest.approx(5 * row["ms per image"])
        assert sum(row["stages"].values()) == pytest.approx(row["ms per image"])
    assert "write PNGs" in capsys.readouterr().out


def test_figures_that_differ_are_told():
    keys = [measure + split for measure in ("PQ", "SQ", "RQ") for split in ("", "_th", "_st")]
    same = dict.fromkeys(keys, 50.0)
    pq._check_equal({pq.OURS: same, pq.FILES: dict(same)})
    with pytest.raises(ValueError, match=r"SQ_th is 50\.0 by ours and 50\.1 by 'PNG files'"):
        pq._check_equal({pq.OURS: same, pq.FILES: {**same, "SQ_th": 50.1}})


def test_data_set_of_real_images(real_data):
    with coco_sized(argparse.Namespace(images=16, real_data=real_data)) as name:
        records = DatasetCatalog.get(name)
        assert len(records) == len({r["file_name"] for r in records}) == 16
        assert records[0]["segments_info"] == records[14]["segments_info"]
    assert name not in DatasetCatalog.list()


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**16), crowd=st.booleans())
def test_plain_counting_equals_ours(seed, crowd):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 4, (6, 7)).repeat(3, 0).repeat(3, 1).astype(np.uint32)
    guess = np.where(rng.random(truth.shape) < 0.8, truth, rng.integers(0, 4, truth.shape))
    sides = []
    for ids, classes in ((truth, rng.integers(1, 4, 4)), (guess, rng.integers(1, 4, 4))):
        sides.append(
            [
                {
                    "id": int(i),
                    "category_id": int(classes[i]),
                    "area": int((ids == i).sum()),
                    "iscrowd": int(crowd and i == 3),
                }
                for i in np.unique(ids)
                if i
            ]
        )
    counts = plain_pq.count_image((truth, sides[0]), (guess.astype(np.uint32), sides[1]))
    quality = PanopticQuality(CATEGORIES)
    quality.add(0, truth, sides[0], guess, sides[1])
    for category_id, row in quality.results()["per_class"].items():
        assert [row[key] for key in ("tp", "fp", "fn")] == [
            counts[category_id, key] for key in ("tp", "fp", "fn")
        ]
        assert row["iou"] == pytest.approx(counts[category_id, "iou"])
