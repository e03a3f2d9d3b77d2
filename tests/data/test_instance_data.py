"""Instance data in COCO's format: registration, records, alignment by name, the check."""

import json

import numpy as np
import pycocotools.mask as mask_util
import pytest
from small_data import CATEGORIES, OUTLINE, H, W, annotation, instance_content, write_instances

from d2_psformer.classes import Classes
from d2_psformer.cli.main import main
from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog, register_coco_instances
from d2_psformer.data import check_dataset, register_from_config, register_instances
from d2_psformer.data.class_metadata import align_data_set, class_metadata, has_classes
from d2_psformer.utils.errors import UserError

DOG_FIRST = {
    "name": "model",
    "thing_classes": ["dog", "cat"],
    "thing_dataset_id_to_contiguous_id": {1: 0, 2: 1},
}


def register(root, name="pets"):
    register_instances(name, root / "images", write_instances(root))
    return name


def classes_of_records():
    return [[a["category_id"] for a in r["annotations"]] for r in DatasetCatalog.get("pets")]


def test_classes_are_all_things_in_the_order_of_their_ids(tmp_path):
    metadata = MetadataCatalog.get(register(tmp_path))
    assert metadata.evaluator_type == "coco"
    assert metadata.thing_classes == ["cat", "dog"]
    assert metadata.thing_dataset_id_to_contiguous_id == {4: 0, 9: 1}
    classes = Classes.from_metadata(metadata)
    assert (classes.thing_ids, classes.stuff_ids) == ((0, 1), ())


def test_records_are_those_of_the_backends_own_loader(tmp_path):
    ours = DatasetCatalog.get(register(tmp_path))
    folder = str(tmp_path / "images")
    register_coco_instances("theirs", {}, str(tmp_path / "instances.json"), folder)
    theirs = DatasetCatalog.get("theirs")
    assert len(ours) == len(theirs) == 2
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.keys() == other.keys()
        for key in mine.keys() - {"annotations"}:
            assert mine[key] == other[key]
        assert mine["annotations"] == other["annotations"]


def test_the_config_registers_it(tmp_path, cfg):
    path = write_instances(tmp_path)
    cfg.DATASETS.REGISTER = [["own", str(tmp_path / "images"), str(path)]]
    register_from_config(cfg)
    register_from_config(cfg)
    assert len(DatasetCatalog.get("own")) == 2


def test_classes_that_come_with_the_json_are_read_before_the_records(tmp_path):
    path = write_instances(tmp_path)
    register_coco_instances("lazy", {}, str(path), str(tmp_path / "images"))
    assert has_classes("lazy")
    assert class_metadata("lazy")["thing_classes"] == ["cat", "dog"]
    assert len(DatasetCatalog.get("lazy")) == 2


@pytest.mark.parametrize("lazy", [False, True])
def test_classes_are_aligned_by_name(tmp_path, lazy):
    path = write_instances(tmp_path)
    if lazy:
        register_coco_instances("pets", {}, str(path), str(tmp_path / "images"))
    else:
        register(tmp_path)
    align_data_set("pets", DOG_FIRST, "the model")
    assert Classes.from_metadata(MetadataCatalog.get("pets")).names == ("dog", "cat")
    assert classes_of_records() == [[0, 1], [1]]


def test_ids_that_changed_in_the_file_are_read_by_name(tmp_path):
    register(tmp_path)
    reference = class_metadata("pets")
    content = instance_content()
    content["categories"] = [{"id": 5, "name": "dog"}, {"id": 70, "name": "cat"}]
    for entry in content["annotations"]:
        entry["category_id"] = {9: 5, 4: 70}[entry["category_id"]]
    (tmp_path / "instances.json").write_text(json.dumps(content))
    align_data_set("pets", reference, "the model")
    records = DatasetCatalog.get("pets")
    assert [[a["category_id"] for a in record["annotations"]] for record in records] == [
        [1, 0],
        [0],
    ]


def test_without_ground_truth_images_are_listed(tmp_path):
    content = instance_content()
    del content["annotations"]
    register_instances("test", tmp_path / "images", write_instances(tmp_path, content))
    assert "annotations" not in DatasetCatalog.get("test")[0]


def test_outlines_of_two_points_are_left_out(tmp_path):
    content = instance_content()
    content["annotations"] += [annotation(4, 2, 9, [[1, 1, 2, 2]]), annotation(5, 2, 9, [])]
    content["annotations"][2]["segmentation"] = [[1, 1, 2, 2], *OUTLINE]
    register_instances("pets", tmp_path / "images", write_instances(tmp_path, content))
    (kept,) = DatasetCatalog.get("pets")[1]["annotations"]
    assert kept["segmentation"] == OUTLINE


def changed(key, value):
    def change(content):
        content["annotations"][1][key] = value

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (changed("id", 1), r"Id 1 is twice in 'annotations' of '.*instances\.json'"),
        (changed("id", 0), r"'id' of annotations\[1\] of .* is 0: write an integer from 1 to"),
        (changed("id", 10**400), r"'id' of annotations\[1\] of .* integer from 1 to 2\*\*53"),
        (changed("image_id", 7), "Annotation 2 of .* has image_id 7, which no entry of 'images'"),
        (changed("category_id", 8), "Annotation 2 of .* has category_id 8, which 'categories'"),
        (changed("bbox", [1, 2, 3]), r"'bbox' of annotations\[1\] of .*\[x, y, width, height\]"),
        (changed("iscrowd", "0"), r"'iscrowd' of annotations\[1\]"),
        (changed("area", None), r"'area' of annotations\[1\]"),
        (changed("segmentation", [[1, 2, 3]]), r"'segmentation' of annotations\[1\]"),
        (
            changed("segmentation", {"size": [W, H], "counts": "a"}),
            r"Annotation 2 of .* has a mask of size \[32, 24\], but its image is \[24, 32\]",
        ),
        (lambda content: content["annotations"][0].pop("area"), r"annotations\[0\] .*lacks 'area'"),
        (lambda content: content["images"][1].update(id=1), "Id 1 is twice in 'images'"),
        (
            lambda content: content["images"][0].update(id="a"),
            "Ids in 'images' .* numbers and texts",
        ),
        (
            lambda content: content["categories"].append({"id": "a", "name": "b"}),
            "Ids in 'categories' of .* are numbers and texts: make them alike",
        ),
        (lambda content: content["categories"].append(CATEGORIES[0]), "Id 9 is twice in 'cate"),
        (lambda content: content.pop("categories"), "has no list 'categories'"),
        (lambda content: content.pop("images"), "has no list 'images'"),
    ],
)
def test_a_wrong_json_is_refused_at_registration(tmp_path, change, sentence):
    content = json.loads(json.dumps(instance_content()))
    change(content)
    with pytest.raises(UserError, match=sentence):
        register_instances("pets", tmp_path / "images", write_instances(tmp_path, content))


def test_a_missing_image_is_named(tmp_path):
    register(tmp_path)
    (tmp_path / "images/1.jpg").unlink()
    with pytest.raises(UserError, match=r"Image '1\.jpg' of '.*instances\.json' is not in"):
        DatasetCatalog.get("pets")


def test_the_check_counts_masks(tmp_path):
    report = check_dataset(register(tmp_path))
    assert report.faults == []
    polygon = mask_util.area(mask_util.frPyObjects(OUTLINE, H, W))[0]
    cats, dogs = report.counts
    assert cats.tolist() == [2, 2, 0, H * (W - 20) + polygon]
    assert dogs.tolist() == [1, 1, 0, polygon]
    assert report.void == 2 * H * W - int(report.counts[:, 3].sum())


def test_the_command_names_an_empty_mask(tmp_path, capsys):
    content = instance_content()
    outside = (np.array(OUTLINE) + 100).tolist()
    content["annotations"][2]["segmentation"] = outside
    path = write_instances(tmp_path, content)
    files = ["--images", str(tmp_path / "images"), "--instance-json", str(path)]
    assert main(["check", "own", *files, "--workers", "0"]) == 1
    assert "annotations[0] of" in (output := capsys.readouterr().out)
    assert "1.jpg' has no pixel in the image" in output
