import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.data import check_dataset, read_panoptic_png, register_panoptic
from d2_psformer.data.ade20k_categories import ADE20K_CATEGORIES

ROOT = Path(__file__).parents[2]
ID_OF = {c["name"]: c["id"] for c in ADE20K_CATEGORIES}


def _script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "datasets" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where worker processes look for its functions
    spec.loader.exec_module(module)
    return module


def _save(path: Path, array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array)).save(path)


@pytest.fixture
def ade20k(tmp_path):
    """One image: wall, sky, an unlabelled pixel, two people and a window without an instance."""
    semantic = np.array([[1, 1, 3, 0], [13, 13, 13, 9]], np.uint8)  # classes count from 1
    instance = np.zeros((2, 4, 3), np.uint8)
    instance[1, 0] = 4, 1, 0  # the fourth thing of the challenge is the person
    instance[1, 1:3] = 4, 2, 0
    instance[0, 1] = 4, 2, 0  # lies over the wall
    instance[0, 0] = 0, 7, 0  # a number without a class means nothing
    _save(tmp_path / "images/validation/ADE_val_1.jpg", np.zeros((2, 4, 3), np.uint8))
    _save(tmp_path / "annotations/validation/ADE_val_1.png", semantic)
    _save(tmp_path / "annotations_instance/validation/ADE_val_1.png", instance)
    return tmp_path


def test_ade20k(ade20k):
    script = _script("prepare_ade20k_panoptic")
    script.ADE20K.run("", ["--root", str(ade20k), "--splits", "val", "--workers", "0"])
    content = json.loads((ade20k / "ade20k_panoptic_val.json").read_text())
    assert content["images"] == [
        {"id": "ADE_val_1", "file_name": "ADE_val_1.jpg", "height": 2, "width": 4}
    ]
    ids = read_panoptic_png(ade20k / "ade20k_panoptic_val" / "ADE_val_1.png")
    segments = {s["id"]: s for s in content["annotations"][0]["segments_info"]}
    classes = [[segments[i]["category_id"] if i else None for i in row] for row in ids.tolist()]
    wall, sky, person = ID_OF["wall"], ID_OF["sky"], ID_OF["person"]
    assert classes == [[wall, person, sky, None], [person, person, person, None]]
    assert ids[0, 1] == ids[1, 1] == ids[1, 2] != ids[1, 0]
    assert segments[ids[0, 1]]["area"] == 3
    assert segments[ids[0, 1]]["bbox"] == [1, 0, 2, 2]


def test_ade20k_result_is_sound_data(ade20k):
    script = _script("prepare_ade20k_panoptic")
    script.ADE20K.run("", ["--root", str(ade20k), "--splits", "val", "--workers", "0"])
    register_panoptic(
        "own_ade",
        ade20k / "images" / "validation",
        ade20k / "ade20k_panoptic_val.json",
        ade20k / "ade20k_panoptic_val",
    )
    assert check_dataset("own_ade").faults == []


def test_ade20k_refuses_other_archives(ade20k, capsys):
    script = _script("prepare_ade20k_panoptic")
    path = ade20k / "annotations_instance/validation/ADE_val_1.png"
    arguments = ["--root", str(ade20k), "--splits", "val", "--workers", "0"]
    _save(path, np.full((2, 4, 3), 101, np.uint8))
    with pytest.raises(SystemExit, match=r"'ADE_val_1.png' of annotations_instance has a class"):
        script.ADE20K.run("", arguments)
    _save(path, np.zeros((3, 4, 3), np.uint8))
    with pytest.raises(SystemExit, match="'ADE_val_1' have shapes"):
        script.ADE20K.run("", arguments)
    path.unlink()
    with pytest.raises(SystemExit, match=r"ADE_val_1.png"):
        script.ADE20K.run("", arguments)
    with pytest.raises(SystemExit, match=r"images/training.*unpack"):
        script.ADE20K.run("", ["--root", str(ade20k)])
    assert not (ade20k / "ade20k_panoptic_val.json").exists()


def test_instance_numbers_follow_the_order_of_the_things():
    """Some rows of the table that the instance challenge publishes (instance class, class)."""
    things = _script("prepare_ade20k_panoptic").THING_IDS
    for number, scene_class in {1: 8, 5: 15, 18: 36, 57: 89, 64: 99, 90: 137, 100: 150}.items():
        assert things[number - 1] + 1 == scene_class


@pytest.fixture
def cityscapes(tmp_path):
    root = tmp_path / "cityscapes"
    # Road, an unevaluated class (5), a group of cars, two cars and a trailer (30).
    instances = np.array([[7, 7, 5, 26], [26001, 26001, 26002, 30000]], np.uint16)
    labels = np.array([[7, 7, 5, 26], [26, 26, 26, 30]], np.uint8)
    for split in ("train", "val"):
        prefix = f"{split}/bonn/bonn_000001_000019"
        _save(root / "gtFine" / f"{prefix}_gtFine_instanceIds.png", instances)
        _save(root / "gtFine" / f"{prefix}_gtFine_labelIds.png", labels)
        _save(root / "leftImg8bit" / f"{prefix}_leftImg8bit.png", np.zeros((2, 4, 3), np.uint8))
    return root


def test_cityscapes(cityscapes):
    script = _script("prepare_cityscapes_panoptic")
    script.CITYSCAPES.run("", ["--root", str(cityscapes), "--workers", "0"])
    folder = cityscapes / "gtFine"
    content = json.loads((folder / "cityscapes_panoptic_val.json").read_text())
    assert len(content["categories"]) == 19
    assert content["images"][0]["id"] == "bonn_000001_000019"
    (annotation,) = content["annotations"]
    ids = read_panoptic_png(folder / "cityscapes_panoptic_val" / annotation["file_name"])
    assert ids.tolist() == [[7, 7, 0, 26], [26001, 26001, 26002, 0]]
    crowds = {s["id"]: (s["category_id"], s["iscrowd"]) for s in annotation["segments_info"]}
    assert crowds == {7: (7, 0), 26: (26, 1), 26001: (26, 0), 26002: (26, 0)}
    train_ids = Image.open(folder / "val/bonn/bonn_000001_000019_gtFine_labelTrainIds.png")
    assert np.asarray(train_ids).tolist() == [[0, 0, 255, 13], [13, 13, 13, 255]]


def test_the_backend_loads_what_was_made_of_cityscapes(cityscapes):
    """In a process of its own: the folder of the built-in data sets is fixed at import."""
    script = _script("prepare_cityscapes_panoptic")
    script.CITYSCAPES.run("", ["--root", str(cityscapes), "--splits", "train", "--workers", "1"])
    environment = {**os.environ, "DETECTRON2_DATASETS": str(cityscapes.parent)}
    run = {"capture_output": True, "text": True, "env": environment, "cwd": ROOT}
    command = [sys.executable, "-W", "ignore", "-m", "d2_psformer.data"]
    done = subprocess.run(
        [*command, "cityscapes_fine_panoptic_train", "--workers", "0"], check=False, **run
    )
    assert "1 images, 0 faults" in done.stdout, done.stderr


def test_categories_are_those_of_the_registered_cityscapes():
    categories = _script("prepare_cityscapes_panoptic").evaluated_categories()
    metadata = MetadataCatalog.get("cityscapes_fine_panoptic_val")
    assert [c["name"] for c in categories] == metadata.stuff_classes
    assert [c["id"] for c in categories if c["isthing"]] == [24, 25, 26, 27, 28, 31, 32, 33]
    assert "cityscapes_fine_panoptic_val" in DatasetCatalog.list()
