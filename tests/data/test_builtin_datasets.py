import json

import numpy as np
import pytest
from PIL import Image

from d2_psformer.classes import Classes
from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.data.builtin import ADE20K_CATEGORIES, datasets_root, register_builtin
from d2_psformer.data.scenes import SCENES_CATEGORIES

# Things, stuff.
CLASS_COUNTS = {
    "coco_2017_{}_panoptic": (80, 53),
    "ade20k_panoptic_{}": (100, 50),
    "cityscapes_fine_panoptic_{}": (8, 11),
    "scenes_{}": (6, 5),
}


@pytest.mark.parametrize("name", CLASS_COUNTS)
@pytest.mark.parametrize("split", ["train", "val"])
def test_classes_are_known_without_any_file(name, split):
    metadata = MetadataCatalog.get(name.format(split))
    layout = Classes.from_metadata(metadata)
    assert (layout.num_things, layout.num_stuff) == CLASS_COUNTS[name]
    assert sorted(layout.thing_ids + layout.stuff_ids) == list(range(layout.num_classes))
    assert len(metadata.stuff_classes) == len(metadata.stuff_colors) == layout.num_classes
    assert max(layout.thing_ids) < len(metadata.thing_classes) == len(metadata.thing_colors)
    assert metadata.panoptic_json.endswith(f"{split}.json") or "2017" in metadata.panoptic_json


def test_ade20k_keeps_the_order_of_the_benchmark():
    metadata = MetadataCatalog.get("ade20k_panoptic_val")
    assert metadata.stuff_classes[:8] == [
        "wall", "building", "sky", "floor", "tree", "ceiling", "road, route", "bed"
    ]  # fmt: skip
    layout = Classes.from_metadata(metadata)
    assert layout.thing_ids[:6] == (7, 8, 10, 12, 14, 15)
    assert metadata.stuff_classes[149] == "flag"
    assert len({tuple(c["color"]) for c in ADE20K_CATEGORIES}) == 150


@pytest.mark.parametrize("split", ["train", "val"])
def test_semantic_data_is_known_without_any_file(split):
    ade20k = MetadataCatalog.get(f"ade20k_sem_seg_{split}")
    cityscapes = MetadataCatalog.get(f"cityscapes_fine_sem_seg_{split}")
    assert (ade20k.evaluator_type, cityscapes.evaluator_type) == ("sem_seg", "cityscapes_sem_seg")
    assert ade20k.ignore_label == cityscapes.ignore_label == 255
    counts = [(c.num_things, c.num_stuff) for c in map(Classes.from_metadata, (ade20k, cityscapes))]
    assert counts == [(0, 150), (8, 11)]
    assert "annotations_detectron2/" in ade20k.sem_seg_root
    assert (len(cityscapes.thing_classes), len(cityscapes.stuff_classes)) == (8, 19)


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize(
    ("name", "count", "first"),
    [
        ("ade20k_instance_{}", 100, (7, "bed")),
        ("cityscapes_fine_instance_seg_{}", 8, (24, "person")),
        ("coco_2017_{}", 80, (1, "person")),
    ],
)
def test_instance_data_is_known_without_any_file(name, count, first, split):
    metadata = MetadataCatalog.get(name.format(split))
    classes = Classes.from_metadata(metadata)
    assert classes.thing_ids == tuple(range(count)) and not classes.stuff_ids
    assert (classes.category_ids[0], classes.names[0]) == first
    assert metadata.evaluator_type == "coco" and split in metadata.json_file


def test_cityscapes_semantic_records(tmp_path):
    for folder, ending in (("leftImg8bit", "leftImg8bit"), ("gtFine", "gtFine_labelTrainIds")):
        path = tmp_path / f"cityscapes/{folder}/val/bonn/bonn_1_{ending}.png"
        path.parent.mkdir(parents=True)
        Image.new("L", (3, 2)).save(path)
    Image.new("L", (3, 2)).save(path.with_name("bonn_1_gtFine_labelIds.png"))
    register_builtin(str(tmp_path))
    try:
        (record,) = DatasetCatalog.get("cityscapes_fine_sem_seg_val")
    finally:
        register_builtin(datasets_root())
    assert record["sem_seg_file_name"] == str(path)
    assert record["file_name"].endswith("leftImg8bit/val/bonn/bonn_1_leftImg8bit.png")


def test_ade20k_names_are_those_of_detectron2():
    pytest.importorskip("detectron2", reason="Detectron2 is not installed")
    from d2_psformer.d2 import BACKEND

    if BACKEND != "detectron2":
        pytest.skip("d2lite has no semantic ADE20K to compare with")
    theirs = MetadataCatalog.get("ade20k_sem_seg_val").stuff_classes
    assert [c["name"] for c in ADE20K_CATEGORIES] == [name.strip() for name in theirs]


def test_names_that_are_taken_are_left_alone(tmp_path):
    before = {name: DatasetCatalog[name] for name in DatasetCatalog.list()}
    register_builtin(str(tmp_path))
    assert {name: DatasetCatalog[name] for name in DatasetCatalog.list()} == before


def test_scenes_load_from_the_folder_that_the_generator_writes(tmp_path):
    for split in ("train", "val"):
        DatasetCatalog.remove(f"scenes_{split}")
        MetadataCatalog.remove(f"scenes_{split}")
    try:
        register_builtin(str(tmp_path))
        root = tmp_path / "scenes"
        (root / "val").mkdir(parents=True)
        (root / "panoptic_val").mkdir()
        Image.new("RGB", (3, 2)).save(root / "val" / "1.jpg")
        Image.fromarray(np.full((2, 3, 3), [9, 0, 0], np.uint8)).save(root / "panoptic_val/1.png")
        category = SCENES_CATEGORIES[1]
        segment = {"id": 9, "category_id": category["id"], "iscrowd": 0, "area": 6}
        content = {
            "images": [{"id": 1, "file_name": "1.jpg", "height": 2, "width": 3}],
            "annotations": [{"image_id": 1, "file_name": "1.png", "segments_info": [segment]}],
            "categories": SCENES_CATEGORIES,
        }
        (root / "panoptic_val.json").write_text(json.dumps(content))
        (record,) = DatasetCatalog.get("scenes_val")
        place = record["segments_info"][0]["category_id"]
        assert MetadataCatalog.get("scenes_val").thing_classes[place] == category["name"]
    finally:
        for split in ("train", "val"):
            DatasetCatalog.remove(f"scenes_{split}")
            MetadataCatalog.remove(f"scenes_{split}")
        register_builtin(datasets_root())
