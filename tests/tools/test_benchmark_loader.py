"""The benchmark of the loader compares mappers that give the same samples."""

import argparse

import pytest
import torch
from benchmarks import loader
from benchmarks.coco_sized import coco_sized
from benchmarks.plain_mapper import PlainMapper

from d2_psformer.d2.data import DatasetCatalog
from d2_psformer.data import PanopticMapper
from d2_psformer.engine import load_config


@pytest.fixture
def options(monkeypatch):
    """Few images; generated, so that this needs no data."""
    monkeypatch.setattr("benchmarks.coco_sized.DISTINCT_SCENES", 2)
    parser = argparse.ArgumentParser()
    loader.add_options(parser)
    chosen = parser.parse_args(["--images", "4", "--workers", "0", "1"])
    chosen.real_data, chosen.rounds = None, 1
    threads = torch.get_num_threads()
    yield chosen
    torch.set_num_threads(threads)


def test_rows_belong_together(options, capsys):
    rows = loader.measure(options)
    assert [(row["mapper"], row["workers"]) for row in rows] == [
        (mapper, workers) for mapper in (loader.PLAIN, loader.OURS) for workers in (0, 1)
    ]
    plain = {row["workers"]: row for row in rows if row["mapper"] == loader.PLAIN}
    for row in rows:
        assert row["images/s"] == pytest.approx(1e3 / row["ms per image"])
        ratio = plain[row["workers"]]["ms per image"] / row["ms per image"]
        assert row["speed-up"] == pytest.approx(ratio)
        assert {"read image", "read PNG", "augment", "masks", "to batch"} <= row["stages"].keys()
        assert all(value > 0 for value in row["stages"].values())
    assert "Stages" in capsys.readouterr().out


def test_another_sample_is_told(options):
    ours = PanopticMapper(load_config(loader.CONFIG, []), True)

    def without_boxes(record):
        sample = ours(record)
        sample["instances"].gt_boxes.tensor.zero_()
        return sample

    with coco_sized(options) as name:
        records = DatasetCatalog.get(name)
        loader._check_equal({"a": ours, "b": PlainMapper(ours)}, records)
        with pytest.raises(ValueError, match=r"samples of '.*\.jpg' differ"):
            loader._check_equal({"a": ours, "b": without_boxes}, records)
