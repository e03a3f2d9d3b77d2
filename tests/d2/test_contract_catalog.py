"""Catalogs and the data sets registered from the start, the same on both backends."""

import os
import subprocess
import sys

import pytest

from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog

NAME = "contract_catalog"


@pytest.fixture(autouse=True)
def forget():
    yield
    for catalog in (DatasetCatalog, MetadataCatalog):
        if NAME in catalog:
            catalog.remove(NAME)


def test_a_data_set_is_loaded_when_asked_for():
    calls = []
    DatasetCatalog.register(NAME, lambda: calls.append(1) or [{"image_id": 7}])
    assert calls == []
    assert DatasetCatalog.get(NAME) == [{"image_id": 7}]
    assert NAME in DatasetCatalog and NAME in DatasetCatalog.list() and NAME in str(DatasetCatalog)
    DatasetCatalog.remove(NAME)
    assert NAME not in DatasetCatalog


def test_a_name_is_registered_once():
    DatasetCatalog.register(NAME, list)
    with pytest.raises(AssertionError, match=NAME):
        DatasetCatalog.register(NAME, list)
    with pytest.raises(AssertionError):
        DatasetCatalog.register(NAME + "2", [{"image_id": 7}])


def test_an_unknown_name_is_reported_with_the_known_ones():
    DatasetCatalog.register(NAME, list)
    with pytest.raises(KeyError, match=f"no_such_set.*{NAME}"):
        DatasetCatalog.get("no_such_set")


def test_metadata_are_made_when_first_asked_for_and_kept():
    metadata = MetadataCatalog.get(NAME)
    assert metadata.name == NAME and metadata is MetadataCatalog.get(NAME)
    assert metadata.set(thing_classes=["cat"], ignore_label=255) is metadata
    metadata.evaluator_type = "coco"
    assert metadata.get("thing_classes") == ["cat"]
    assert metadata.get("stuff_classes") is None
    assert metadata.get("stuff_classes", 3) == 3
    assert metadata.as_dict() == {
        "name": NAME,
        "thing_classes": ["cat"],
        "ignore_label": 255,
        "evaluator_type": "coco",
    }
    metadata.as_dict()["ignore_label"] = 0
    assert metadata.ignore_label == 255


def test_a_missing_attribute_is_named():
    MetadataCatalog.get(NAME).ignore_label = 255
    with pytest.raises(AttributeError) as error:
        _ = MetadataCatalog.get(NAME).stuff_classes
    assert all(word in str(error.value) for word in ("stuff_classes", NAME, "ignore_label"))


def test_metadata_do_not_change():
    metadata = MetadataCatalog.get(NAME).set(thing_classes=["cat"])
    metadata.thing_classes = ["cat"]
    with pytest.raises(AssertionError, match="thing_classes"):
        metadata.thing_classes = ["dog"]
    assert metadata.thing_classes == ["cat"]


def test_removed_metadata_are_empty_again():
    MetadataCatalog.get(NAME).ignore_label = 255
    assert NAME in MetadataCatalog.list() and NAME in str(MetadataCatalog)
    MetadataCatalog.remove(NAME)
    assert MetadataCatalog.get(NAME).get("ignore_label") is None


@pytest.mark.parametrize("split", ["train", "val"])
def test_coco_panoptic(split):
    metadata = MetadataCatalog.get(f"coco_2017_{split}_panoptic")
    things = metadata.thing_dataset_id_to_contiguous_id
    stuff = metadata.stuff_dataset_id_to_contiguous_id
    assert (len(things), len(stuff)) == (80, 53)
    assert sorted([*things.values(), *stuff.values()]) == list(range(133))
    assert len(metadata.thing_classes) == len(metadata.stuff_classes) == 133
    for dataset_id, name in {1: "person", 90: "toothbrush"}.items():
        assert metadata.thing_classes[things[dataset_id]] == name
    for dataset_id, name in {92: "banner", 200: "rug-merged"}.items():
        assert metadata.stuff_classes[stuff[dataset_id]] == name
    assert list(metadata.stuff_colors[0]) == [220, 20, 60]
    assert metadata.evaluator_type == "coco_panoptic_seg"
    assert (metadata.ignore_label, metadata.label_divisor) == (255, 1000)
    assert metadata.image_root.endswith(f"coco/{split}2017")
    assert metadata.panoptic_root.endswith(f"coco/panoptic_{split}2017")
    assert metadata.panoptic_json.endswith(f"coco/annotations/panoptic_{split}2017.json")
    assert metadata.json_file.endswith(f"coco/annotations/instances_{split}2017.json")
    assert f"coco_2017_{split}_panoptic" in DatasetCatalog


@pytest.mark.parametrize("split", ["train", "val"])
def test_coco_instances(split):
    metadata = MetadataCatalog.get(f"coco_2017_{split}")
    assert len(metadata.thing_classes) == len(metadata.thing_colors) == 80
    assert metadata.thing_classes[metadata.thing_dataset_id_to_contiguous_id[18]] == "dog"
    assert metadata.evaluator_type == "coco"


@pytest.mark.parametrize("split", ["train", "val"])
def test_cityscapes_panoptic(split):
    metadata = MetadataCatalog.get(f"cityscapes_fine_panoptic_{split}")
    assert metadata.thing_dataset_id_to_contiguous_id == {
        **{24: 11, 25: 12, 26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18}
    }
    assert metadata.stuff_dataset_id_to_contiguous_id[7] == 0
    assert len(metadata.stuff_dataset_id_to_contiguous_id) == 11
    assert metadata.thing_classes[13] == metadata.stuff_classes[13] == "car"
    assert list(metadata.thing_colors[13]) == [0, 0, 142]
    assert metadata.evaluator_type == "cityscapes_panoptic_seg"
    assert metadata.gt_dir.endswith(f"cityscapes/gtFine/{split}")


def test_data_sets_lie_where_the_environment_says(tmp_path):
    code = (
        "from d2_psformer.d2.data import MetadataCatalog as M;"
        "print(M.get('coco_2017_val_panoptic').panoptic_json);"
        "print(M.get('cityscapes_fine_panoptic_val').image_root)"
    )
    environment = {**os.environ, "DETECTRON2_DATASETS": str(tmp_path)}
    run = [sys.executable, "-c", code]
    output = subprocess.run(run, env=environment, check=True, capture_output=True, text=True).stdout
    assert output.split() == [
        str(tmp_path / "coco/annotations/panoptic_val2017.json"),
        str(tmp_path / "cityscapes/leftImg8bit/val"),
    ]
