import json

import numpy as np
import pytest
from pycocotools import mask as mask_util

from d2_psformer.d2.data import DatasetCatalog
from d2_psformer.data import (
    instances_from_panoptic,
    read_panoptic_png,
    register_panoptic,
    semantic_from_panoptic,
)
from d2_psformer.utils.errors import UserError

IDS = np.array([[70000, 70000, 5, 0], [9, 70000, 5, 0], [9, 9, 5, 300]])
SEGMENTS = [
    {"id": 70000, "category_id": 1, "isthing": True},
    {"id": 5, "category_id": 3, "isthing": False, "iscrowd": 0},
    {"id": 9, "category_id": 1, "isthing": True, "iscrowd": 1},
    {"id": 300, "category_id": 0, "isthing": True, "iscrowd": 0},
    {"id": 77, "category_id": 0, "isthing": True, "iscrowd": 0},
]


def test_semantic_map():
    semantic = semantic_from_panoptic(IDS, SEGMENTS)
    assert semantic.dtype == np.uint8
    assert semantic.tolist() == [[1, 1, 3, 255], [1, 1, 3, 255], [1, 1, 3, 0]]


def test_many_classes_need_two_bytes():
    many = [{"id": 5, "category_id": 400, "isthing": False}]
    assert semantic_from_panoptic(IDS, many, 65535).tolist()[0] == [65535, 65535, 400, 65535]
    assert semantic_from_panoptic(IDS, many, 65535).dtype == np.uint16
    assert semantic_from_panoptic(IDS, many).dtype == np.uint16
    with pytest.raises(UserError, match="Class 255 has the number"):
        semantic_from_panoptic(IDS, [{"id": 5, "category_id": 255}])


def test_instances():
    first, crowd, last = instances_from_panoptic(IDS, SEGMENTS)
    assert (first["segment_id"], first["category_id"], first["iscrowd"]) == (70000, 1, 0)
    assert (first["area"], first["bbox"]) == (3, [0, 0, 2, 2])
    assert (crowd["iscrowd"], crowd["bbox"]) == (1, [0, 1, 2, 2])
    assert (last["segment_id"], last["bbox"]) == (300, [3, 2, 1, 1])
    json.dumps([first, crowd, last])


def test_nothing_to_find():
    assert instances_from_panoptic(IDS, SEGMENTS[1:2]) == []
    assert instances_from_panoptic(IDS, []) == []
    assert (semantic_from_panoptic(IDS, []) == 255).all()


def test_real_images_agree_with_pycocotools_and_the_json(real_data):
    register_panoptic(
        "real", real_data / "images", real_data / "panoptic.json", real_data / "panoptic"
    )
    for record in DatasetCatalog.get("real")[:4]:
        ids = read_panoptic_png(record["pan_seg_file_name"])
        listed = {s["id"]: s for s in record["segments_info"]}
        semantic = semantic_from_panoptic(ids, record["segments_info"])
        instances = instances_from_panoptic(ids, record["segments_info"])
        assert len(instances) == sum(s["isthing"] for s in listed.values())
        for instance in instances:
            mask = mask_util.decode(instance["segmentation"]).astype(bool)
            np.testing.assert_array_equal(mask, ids == instance["segment_id"])
            assert (semantic[mask] == instance["category_id"]).all()
            assert mask_util.area(instance["segmentation"]) == instance["area"]
            assert mask_util.toBbox(instance["segmentation"]).tolist() == instance["bbox"]
            assert listed[instance["segment_id"]]["area"] == instance["area"]
