import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from d2_psformer.classes import Classes
from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.data import (
    check_dataset,
    read_panoptic_png,
    register_instances,
    register_panoptic,
    register_semantic,
)
from d2_psformer.data.ade20k_preparation import ADE20K, THING_IDS
from d2_psformer.data.builtin import ADE20K_CATEGORIES
from d2_psformer.data.cityscapes_preparation import CATEGORIES, CITYSCAPES
from d2_psformer.data.registration import register_with_classes
from d2_psformer.evaluation import SemanticEvaluator
from d2_psformer.utils.errors import UserError

ROOT = Path(__file__).parents[2]
ID_OF = {c["name"]: c["id"] for c in ADE20K_CATEGORIES}


def prepare(preparation, root: Path, splits=("val",), workers: int = 0, force=False) -> None:
    preparation.run(root, splits, workers, force)


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
    prepare(ADE20K, ade20k)
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


def test_ade20k_semantic_and_instance_annotation(ade20k):
    prepare(ADE20K, ade20k)
    path = ade20k / "annotations_detectron2/validation/ADE_val_1.png"
    labels = np.asarray(Image.open(path))
    assert labels.dtype == np.uint8
    assert labels.tolist() == [[0, 0, 2, 255], [12, 12, 12, 8]]
    content = json.loads((ade20k / "ade20k_instance_val.json").read_text())
    assert len(content["categories"]) == 100
    assert [(a["id"], a["area"]) for a in content["annotations"]] == [(1, 1), (2, 3)]
    assert {a["category_id"] for a in content["annotations"]} == {ID_OF["person"]}
    register_instances("ade", ade20k / "images" / "validation", ade20k / "ade20k_instance_val.json")
    report = check_dataset("ade")
    assert (report.faults, report.images) == ([], 1)
    names = [c["name"] for c in ADE20K_CATEGORIES]
    register_semantic("ade_semantic", ade20k / "images" / "validation", path.parent, names)
    assert check_dataset("ade_semantic").faults == []


def test_panoptic_ade20k_knows_its_semantic_pngs(ade20k):
    """Pixels of a thing class without an instance are void there and labelled here."""
    prepare(ADE20K, ade20k)
    folder = ade20k / "annotations_detectron2/validation"
    register_with_classes(
        "ade_panoptic",
        ade20k / "images" / "validation",
        ade20k / "ade20k_panoptic_val.json",
        ade20k / "ade20k_panoptic_val",
        Classes.from_categories(ADE20K_CATEGORIES),
        sem_seg_root=str(folder),
    )
    evaluator = SemanticEvaluator("ade_panoptic")
    records = DatasetCatalog.get("ade_panoptic")
    labels = torch.from_numpy(np.array(Image.open(folder / "ADE_val_1.png"), int))
    predicted = (labels == torch.arange(150)[:, None, None]).float()
    evaluator.reset()
    evaluator.process(records, [{"sem_seg": predicted}])
    results = evaluator.evaluate()["sem_seg"]
    assert results["mIoU"] == results["ACC-window"] == pytest.approx(100)


def test_ade20k_result_is_sound_data(ade20k):
    prepare(ADE20K, ade20k)
    register_panoptic(
        "own_ade",
        ade20k / "images" / "validation",
        ade20k / "ade20k_panoptic_val.json",
        ade20k / "ade20k_panoptic_val",
    )
    assert check_dataset("own_ade").faults == []


def test_workers_change_nothing(ade20k):
    for number in range(2, 20):
        for folder in ("images", "annotations", "annotations_instance"):
            (source,) = (ade20k / folder / "validation").glob("ADE_val_1.*")
            (source.parent / f"ADE_val_{number}{source.suffix}").write_bytes(source.read_bytes())
    prepare(ADE20K, ade20k)
    results = [ade20k / "ade20k_panoptic_val.json", *(ade20k / "ade20k_panoptic_val").iterdir()]
    alone = {path: path.read_bytes() for path in results}
    prepare(ADE20K, ade20k, workers=2)
    assert len(alone) == 20
    assert {path: path.read_bytes() for path in results} == alone


INSTANCES = "annotations_instance/validation/ADE_val_1.png"


@pytest.mark.parametrize(
    ("file", "array", "sentence"),
    [
        (INSTANCES, np.full((2, 4, 3), 101, np.uint8), r"annotations_instance has class 101"),
        (INSTANCES, np.zeros((3, 4, 3), np.uint8), r"'ADE_val_1' have shapes \(2, 4\) and"),
        (INSTANCES, np.zeros((2, 4), np.uint8), r"'ADE_val_1' have shapes"),
        # Detectron2's copies count from 0 and have 255 for what is not labelled
        (
            "annotations/validation/ADE_val_1.png",
            np.full((2, 4), 255, np.uint8),
            r"annotations has class 255, outside of 1\.\.\.150",
        ),
    ],
)
def test_ade20k_refuses_other_archives(ade20k, file, array, sentence):
    _save(ade20k / file, array)
    with pytest.raises(UserError, match=sentence):
        prepare(ADE20K, ade20k)
    assert not (ade20k / "ade20k_panoptic_val.json").exists()


def test_ade20k_names_what_is_missing_before_it_begins(ade20k):
    path = ade20k / INSTANCES
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UserError, match=r"ADE_val_1\.png' cannot be decoded.*write it again"):
        prepare(ADE20K, ade20k)
    path.unlink()
    told = r"annotations_instance/validation' has no file for 1 of 1 image .* 'ADE_val_1\.png'"
    with pytest.raises(UserError, match=told):
        prepare(ADE20K, ade20k)
    with pytest.raises(UserError, match=r"There is no '.*images/training.*unpack"):
        prepare(ADE20K, ade20k, splits=("train", "val"))
    with pytest.raises(UserError, match=r"nowhere' does not exist: unpack .* --root"):
        prepare(ADE20K, ade20k / "nowhere")
    assert not (ade20k / "ade20k_panoptic_val").exists()


def test_instance_numbers_follow_the_order_of_the_things():
    """Some rows of the table that the instance challenge publishes (instance class, class)."""
    for number, scene_class in {1: 8, 5: 15, 18: 36, 57: 89, 64: 99, 90: 137, 100: 150}.items():
        assert THING_IDS[number - 1] + 1 == scene_class


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
    prepare(CITYSCAPES, cityscapes)
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


def test_the_commands_write_what_the_registered_names_read(
    ade20k, cityscapes, tmp_path, monkeypatch
):
    """Read in a process of its own: the folder of the built-in data sets is fixed at import."""
    root = tmp_path / "all"
    root.mkdir()
    (root / "ADEChallengeData2016").symlink_to(ade20k)
    (root / "cityscapes").symlink_to(cityscapes)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(root))
    for name in ("ade20k", "cityscapes"):
        script = ROOT / "datasets" / f"prepare_{name}_panoptic.py"
        monkeypatch.setattr(sys, "argv", [str(script), "--splits", "val", "--workers", "1"])
        runpy.run_path(str(script), run_name="__main__")
    segments = {
        "ade20k_panoptic_val": 4,
        "ade20k_sem_seg_val": 4,
        "ade20k_instance_val": 2,
        "cityscapes_fine_panoptic_val": 4,
        "cityscapes_fine_sem_seg_val": 2,
        "cityscapes_fine_instance_seg_val": 3,
    }
    code = (
        "from d2_psformer.data import check_dataset\n"
        f"for name in {[*segments]}:\n"
        "    report = check_dataset(name)\n"
        "    print(report.images, report.faults, int(report.counts[:, 1].sum()))"
    )
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.splitlines() == [f"1 [] {n}" for n in segments.values()], done.stderr


def test_cityscapes_names_what_is_missing_before_it_begins(cityscapes):
    prefix = "val/bonn/bonn_000001_000019"
    (cityscapes / f"gtFine/{prefix}_gtFine_labelIds.png").unlink()
    told = r"gtFine/val/bonn' has no file for 1 of 1 image of val.*labelIds\.png"
    with pytest.raises(UserError, match=told):
        prepare(CITYSCAPES, cityscapes, splits=("train", "val"))
    (cityscapes / f"leftImg8bit/{prefix.replace('val', 'train')}_leftImg8bit.png").unlink()
    with pytest.raises(UserError, match=r"leftImg8bit/train/bonn' has no file"):
        prepare(CITYSCAPES, cityscapes, splits=("train",))
    assert not list(cityscapes.glob("gtFine/cityscapes_panoptic_*"))


def test_categories_are_those_of_the_registered_cityscapes():
    metadata = MetadataCatalog.get("cityscapes_fine_panoptic_val")
    assert [c["name"] for c in CATEGORIES] == metadata.stuff_classes
    assert [c["id"] for c in CATEGORIES if c["isthing"]] == [24, 25, 26, 27, 28, 31, 32, 33]
    assert "cityscapes_fine_panoptic_val" in DatasetCatalog.list()


@pytest.fixture
def three_images(ade20k):
    """The image and two copies of it, of which the second is damaged."""
    for number in (2, 3):
        for path in (*ade20k.glob("images/*/*_1.jpg"), *ade20k.glob("anno*/*/*_1.png")):
            shutil.copy(path, path.with_name(path.name.replace("_1", f"_{number}")))
    damaged = ade20k / INSTANCES.replace("_1", "_2")
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:50])
    with pytest.raises(UserError, match=r"ADE_val_2\.png' cannot be decoded"):
        prepare(ADE20K, ade20k)
    damaged.write_bytes(whole)
    return ade20k


def test_an_interrupted_preparation_goes_on(three_images):
    first = three_images / "ade20k_panoptic_val" / "ADE_val_1.png"
    before = first.stat().st_mtime_ns
    assert not (three_images / "ade20k_panoptic_val.json").exists()
    prepare(ADE20K, three_images)
    assert first.stat().st_mtime_ns == before
    panoptic = json.loads((three_images / "ade20k_panoptic_val.json").read_text())
    instances = json.loads((three_images / "ade20k_instance_val.json").read_text())
    assert [image["id"] for image in panoptic["images"]] == [f"ADE_val_{k}" for k in (1, 2, 3)]
    assert [len(a["segments_info"]) for a in panoptic["annotations"]] == [4, 4, 4]
    assert [a["id"] for a in instances["annotations"]] == [1, 2, 3, 4, 5, 6]
    assert not [*three_images.glob("*.jsonl")]


def test_a_png_that_was_lost_is_made_again(three_images):
    (three_images / "ade20k_panoptic_val" / "ADE_val_1.png").unlink()
    prepare(ADE20K, three_images)
    assert len([*three_images.glob("ade20k_panoptic_val/*.png")]) == 3


def test_a_finished_split_is_made_again_only_by_force(ade20k, caplog):
    prepare(ADE20K, ade20k)
    first = ade20k / "ade20k_panoptic_val" / "ADE_val_1.png"
    before = first.stat().st_mtime_ns
    with caplog.at_level("INFO"):
        prepare(ADE20K, ade20k)
    assert "ade20k_panoptic_val.json' is there already" in caplog.text
    assert first.stat().st_mtime_ns == before
    prepare(ADE20K, ade20k, force=True)
    assert first.stat().st_mtime_ns > before
