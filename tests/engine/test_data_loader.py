from itertools import islice

import pytest
import torch
from dummy_training import dummy_cfg, dummy_mapper, register_dummy

from d2_psformer.d2.utils import comm
from d2_psformer.data.registration import register_records
from d2_psformer.engine import build_test_loader, build_train_loader
from d2_psformer.engine.data_loader import images_per_batch


def batches(cfg, count: int = 6, **options) -> list[list[tuple[int, float]]]:
    loader = build_train_loader(cfg, seed=3, mapper=dummy_mapper, **options)
    return [
        [(x["image_id"], x["image"].sum().item()) for x in batch] for batch in islice(loader, count)
    ]


def test_batches_are_the_same_for_any_number_of_workers(tmp_path):
    alone = batches(dummy_cfg(tmp_path))
    assert [len(batch) for batch in alone] == [4] * 6
    assert batches(dummy_cfg(tmp_path, "DATALOADER.NUM_WORKERS", 2)) == alone


def test_a_later_start_leaves_out_the_first_images(tmp_path):
    cfg = dummy_cfg(tmp_path, "SOLVER.ACCUMULATION_STEPS", 2)
    whole = batches(cfg, 8)
    assert [len(batch) for batch in whole] == [2] * 8
    assert batches(cfg, 4, start_iter=2) == whole[4:]


def test_mappers_get_copies(tmp_path):
    def spoil(record):
        assert "spoilt" not in record
        record["spoilt"] = True
        return record

    loader = build_train_loader(dummy_cfg(tmp_path), seed=0, mapper=spoil)
    assert len(list(islice(loader, 6))) == 6


def test_several_data_sets(tmp_path):
    register_dummy("dummy_more")
    cfg = dummy_cfg(tmp_path, "DATASETS.TRAIN", ("dummy_train", "dummy_more"))
    ids = [image_id for batch in batches(cfg, 5) for image_id, _ in batch]
    assert sorted(ids) == sorted([*range(10), *range(10)])


@pytest.mark.parametrize(
    ("total", "processes", "steps", "each"), [(8, 1, 1, 8), (8, 2, 2, 2), (6, 3, 1, 2)]
)
def test_images_per_batch(tmp_path, monkeypatch, total, processes, steps, each):
    monkeypatch.setattr(comm, "get_world_size", lambda: processes)
    cfg = dummy_cfg(tmp_path, "SOLVER.IMS_PER_BATCH", total, "SOLVER.ACCUMULATION_STEPS", steps)
    assert images_per_batch(cfg) == each


@pytest.mark.parametrize(("total", "processes", "steps"), [(4, 3, 1), (4, 2, 4), (0, 1, 1)])
def test_images_that_do_not_come_out_even(tmp_path, monkeypatch, total, processes, steps):
    monkeypatch.setattr(comm, "get_world_size", lambda: processes)
    cfg = dummy_cfg(tmp_path, "SOLVER.IMS_PER_BATCH", total, "SOLVER.ACCUMULATION_STEPS", steps)
    with pytest.raises(
        ValueError, match=f"IMS_PER_BATCH is {total}.*multiple of {processes * steps}"
    ):
        images_per_batch(cfg)


def test_test_loader_shows_every_image_once_and_alone(tmp_path):
    loader = build_test_loader(dummy_cfg(tmp_path), "dummy_train", dummy_mapper)
    assert [[x["image_id"] for x in batch] for batch in loader] == [[i] for i in range(10)]
    assert torch.is_tensor(next(iter(loader))[0]["image"])


def test_an_image_with_two_annotations_is_tested_once(tmp_path):
    """Two processes that have it would count both annotations twice."""
    record = {"image_id": 3, "file_name": "3.jpg", "height": 3, "width": 4}
    other = {"image_id": 4, "file_name": "4.jpg", "height": 3, "width": 4}
    name = register_records("listed_twice", [record, other, {**record, "segments_info": []}])
    loader = build_test_loader(dummy_cfg(tmp_path), name, mapper=dummy_mapper)
    assert [[x["image_id"] for x in batch] for batch in loader] == [[3], [4]]


def test_training_refuses_images_without_ground_truth(tmp_path):
    with pytest.raises(ValueError, match=r"'0\.jpg' of DATASETS\.TRAIN \(dummy_train\) has no "):
        build_train_loader(dummy_cfg(tmp_path), seed=0)


@pytest.mark.parametrize("filter_empty", [True, False])
def test_images_without_objects_are_left_out_or_not(tmp_path, filter_empty):
    objects = [[], [{"category_id": 0}], [{"category_id": 0, "iscrowd": 1}]]
    records = [
        {"file_name": f"{i}.jpg", "image_id": i, "annotations": o} for i, o in enumerate(objects)
    ]
    cfg = dummy_cfg(tmp_path)
    cfg.DATASETS.TRAIN = (register_records("objects", records, thing_classes=["cat"]),)
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = filter_empty
    seen = {image_id for batch in batches(cfg) for image_id, _ in batch}
    assert seen == ({1} if filter_empty else {0, 1, 2})
