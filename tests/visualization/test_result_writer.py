"""The files of results, read back by means of others."""

import json

import numpy as np
import pytest
from PIL import Image
from tiny_model import TOYS

from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.data import register_panoptic
from d2_psformer.engine import restore_class_metadata
from d2_psformer.visualization import ResultWriter

SEGMENTS = [
    {"id": 300, "category_id": 1, "isthing": True, "score": 0.98765, "area": 12},
    {"id": 70_001, "category_id": 3, "isthing": False, "score": 0.5, "area": 30},
]


@pytest.fixture
def metadata():
    before = set(MetadataCatalog.list())
    restore_class_metadata(TOYS)
    yield MetadataCatalog.get("toys_train")
    for name in set(MetadataCatalog.list()) - before:
        MetadataCatalog.remove(name)


@pytest.fixture
def ids():
    ids = np.zeros((8, 10), np.int32)
    ids[1:4, 2:6] = 300
    ids[5:] = 70_001
    return ids


@pytest.fixture
def image():
    return np.full((8, 10, 3), 90, np.uint8)


def test_one_image(tmp_path, metadata, image, ids):
    writer = ResultWriter(tmp_path, metadata)
    overlay = writer.write("toy", "photos/toy.jpg", image, ids, SEGMENTS)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "toy_ids.png",
        "toy_overlay.jpg",
        "toy_segments.json",
    ]
    with Image.open(tmp_path / "toy_ids.png") as png:
        rgb = np.asarray(png).astype(int)
    np.testing.assert_array_equal(rgb @ [1, 256, 65536], ids)
    with Image.open(tmp_path / "toy_overlay.jpg") as picture:
        assert np.abs(np.asarray(picture).astype(int) - overlay).mean() < 3

    result = json.loads((tmp_path / "toy_segments.json").read_text())
    assert {k: v for k, v in result.items() if k != "segments_info"} == {
        "image": "photos/toy.jpg",
        "height": 8,
        "width": 10,
        "overlay": "toy_overlay.jpg",
        "ids": "toy_ids.png",
    }
    assert result["segments_info"] == [
        {
            "id": 300,
            "category_id": 7,
            "class_index": 1,
            "category": "box",
            "isthing": True,
            "score": 0.9877,
            "area": 12,
            "bbox": [2, 1, 4, 3],
        },
        {
            "id": 70_001,
            "category_id": 25,
            "class_index": 3,
            "category": "wall",
            "isthing": False,
            "score": 0.5,
            "area": 30,
            "bbox": [0, 5, 10, 3],
        },
    ]


def test_the_summary_is_a_data_set_of_its_own(tmp_path, metadata, image, ids):
    photos = tmp_path / "photos"
    photos.mkdir()
    writer = ResultWriter(tmp_path / "out", metadata)
    for name in ("one", "two"):
        Image.fromarray(image).save(photos / f"{name}.png")
        writer.write(name, str(photos / f"{name}.png"), image, ids, SEGMENTS)
    writer.write_summary()

    register_panoptic("results", photos, tmp_path / "out" / "panoptic.json", tmp_path / "out")
    try:
        records = DatasetCatalog.get("results")
    finally:
        DatasetCatalog.remove("results")
    known = MetadataCatalog.get("results")
    assert known.thing_classes == TOYS["thing_classes"]
    assert known.stuff_classes == TOYS["stuff_classes"]
    assert [r["file_name"] for r in records] == [str(photos / f"{n}.png") for n in ("one", "two")]
    assert [s["category_id"] for s in records[0]["segments_info"]] == [1, 3]
    assert [s["isthing"] for s in records[0]["segments_info"]] == [True, False]


def test_nothing_found(tmp_path, metadata, image):
    writer = ResultWriter(tmp_path, metadata)
    writer.write("empty", "empty.jpg", image, np.zeros((8, 10), np.int32), [])
    writer.write_summary()
    summary = json.loads((tmp_path / "panoptic.json").read_text())
    assert summary["annotations"] == [
        {"image_id": "empty", "file_name": "empty_ids.png", "segments_info": []}
    ]
    assert [c["id"] for c in summary["categories"]] == [3, 7, 10, 25]
