import numpy as np
import pytest

from d2_psformer.classes import Classes
from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.data import register_from_config, register_panoptic
from d2_psformer.utils.errors import UserError

IDS = [[70000, 70000, 5], [0, 300, 5]]
SEGMENTS = [(70000, 7), (5, 40), (300, 3, 1)]


def test_metadata_comes_from_the_json_alone(tiny):
    tiny.content["annotations"] = []
    metadata = MetadataCatalog.get(tiny.register())
    assert metadata.thing_classes == ["cat", "dog"]
    assert metadata.stuff_classes == ["cat", "dog", "grass", "sky"]
    assert metadata.thing_dataset_id_to_contiguous_id == {3: 0, 7: 1}
    assert metadata.stuff_dataset_id_to_contiguous_id == {3: 0, 7: 1, 12: 2, 40: 3}
    assert metadata.thing_colors == metadata.stuff_colors[:2]
    assert metadata.stuff_colors[0] == [200, 0, 0]
    assert metadata.stuff_colors[3] == [10, 20, 30]
    assert len({tuple(c) for c in metadata.stuff_colors}) == 4
    assert metadata.evaluator_type == "coco_panoptic_seg"
    assert (metadata.label_divisor, metadata.ignore_label) == (1000, 255)
    assert metadata.image_root == str(tiny.images)
    assert metadata.panoptic_root == str(tiny.panoptic)
    assert metadata.panoptic_json == str(tiny.json)
    layout = Classes.from_metadata(metadata)
    assert (layout.thing_ids, layout.stuff_ids) == ((0, 1), (2, 3))


def test_colors_of_the_json(tiny):
    tiny.content["categories"] = [
        {**c, "color": "#2ca02c"} if c["name"] == "dog" else c for c in tiny.content["categories"]
    ]
    assert MetadataCatalog.get(tiny.register()).thing_colors[1] == [44, 160, 44]


@pytest.mark.parametrize("color", ["10,20,30", "#2ca", "red", [1, 2, 3, 255], [0.1, 0.2, 0.3]])
def test_other_colors_are_refused_at_registration(tiny, color):
    tiny.content["categories"] = [{**c, "color": color} for c in tiny.content["categories"]]
    with pytest.raises(UserError, match=r"'color' of categories\[0\] of '.*panoptic.json' is .*#r"):
        tiny.register()


def test_records(tiny):
    tiny.add(IDS, SEGMENTS, image_id=17)
    (record,) = tiny.records()
    assert record["image_id"] == 17
    assert (record["height"], record["width"]) == (2, 3)
    assert record["file_name"] == str(tiny.images / "picture_17.png")
    assert record["pan_seg_file_name"] == str(tiny.panoptic / "picture_17.png")
    assert record["segments_info"] == [
        {"id": 70000, "category_id": 1, "isthing": True, "iscrowd": 0},
        {"id": 5, "category_id": 3, "isthing": False, "iscrowd": 0},
        {"id": 300, "category_id": 0, "isthing": True, "iscrowd": 1},
    ]


def test_text_ids_for_images_and_categories(tiny):
    tiny.content["categories"] = [
        {"id": "wall", "name": "wall", "isthing": False},
        {"id": "bed", "name": "bed", "isthing": True},
    ]
    tiny.add([[1, 2]], [(1, "wall"), (2, "bed")], image_id="ADE_val_1")
    (record,) = tiny.records()
    assert record["image_id"] == "ADE_val_1"
    assert [s["category_id"] for s in record["segments_info"]] == [1, 0]


@pytest.mark.parametrize(("isthing", "counts"), [(1, (4, 0)), (0, (0, 4))])
def test_only_things_and_only_stuff(tiny, isthing, counts):
    tiny.content["categories"] = [{**c, "isthing": isthing} for c in tiny.content["categories"]]
    tiny.add(IDS, SEGMENTS)
    record = tiny.records()[0]
    layout = Classes.from_metadata(MetadataCatalog.get("tiny"))
    assert (layout.num_things, layout.num_stuff) == counts
    assert {s["isthing"] for s in record["segments_info"]} == {bool(isthing)}


def test_order_of_categories_has_no_influence(tiny):
    first = MetadataCatalog.get(tiny.register("a"))
    tiny.content["categories"] = tiny.content["categories"][::-1]
    second = MetadataCatalog.get(tiny.register("b"))
    for key in ("thing_classes", "stuff_classes", "stuff_dataset_id_to_contiguous_id"):
        assert first.get(key) == second.get(key)


@pytest.mark.parametrize("extension", [".jpg", ".JPEG", ".bmp", ".webp", ".tif"])
def test_any_image_extension(tiny, extension):
    tiny.add(IDS, SEGMENTS, extension=extension)
    tiny.content["images"][0]["file_name"] = "picture_1.jpg"
    assert tiny.records()[0]["file_name"] == str(tiny.images / f"picture_1{extension}")


def test_images_in_subfolders_and_json_without_images(tiny):
    tiny.add(IDS, SEGMENTS, extension=".jpg")
    (tiny.images / "city").mkdir()
    (tiny.images / "picture_1.jpg").rename(tiny.images / "city" / "picture_1.jpg")
    assert tiny.records()[0]["file_name"].endswith("city/picture_1.jpg")
    del tiny.content["images"]
    tiny.write()
    record = DatasetCatalog.get("tiny")[0]
    assert record["file_name"].endswith("city/picture_1.jpg")
    assert "height" not in record


def test_images_without_annotation_are_left_out(tiny):
    tiny.add(IDS, SEGMENTS)
    tiny.add(IDS, SEGMENTS)
    tiny.content["annotations"].pop()
    assert [r["image_id"] for r in tiny.records()] == [1]


def test_images_alone(tiny):
    for _ in range(2):
        tiny.add(IDS, SEGMENTS)
    del tiny.content["annotations"]
    tiny.write()
    register_panoptic("tiny", tiny.images, tiny.json, "")
    first, second = DatasetCatalog.get("tiny")
    assert first == {
        "file_name": str(tiny.images / "picture_1.png"), "image_id": 1, "height": 2, "width": 3
    }  # fmt: skip
    assert second["image_id"] == 2
    assert MetadataCatalog.get("tiny").thing_classes == ["cat", "dog"]


@pytest.mark.parametrize("categories", [None, [], [{"id": 1, "name": "cat"}]])
def test_images_alone_need_no_panoptic_categories(tiny, categories):
    tiny.add(IDS, SEGMENTS)
    del tiny.content["annotations"], tiny.content["categories"]
    if categories is not None:
        tiny.content["categories"] = categories
    assert len(tiny.records()) == 1
    assert "thing_classes" not in MetadataCatalog.get("tiny").as_dict()


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ("image", UserError, r"Image 'picture_1.png' of '.*panoptic.json' is not in"),
        ("double image", UserError, r"Image 1 is twice in '.*panoptic.json'"),
        ("key", UserError, r"images\[0\] of '.*panoptic.json' lacks 'file_name'"),
    ],
)
def test_bad_images_alone_are_told_by_name(tiny, how, error, message):
    tiny.add(IDS, SEGMENTS)
    del tiny.content["annotations"]
    if how == "image":
        (tiny.images / "picture_1.png").unlink()
    elif how == "double image":
        tiny.content["images"] *= 2
    else:
        del tiny.content["images"][0]["file_name"]
    with pytest.raises(error, match=message):
        tiny.records()


def test_doing_it_twice_is_fine_with_the_same_files_only(tiny, tmp_path):
    tiny.register()
    tiny.register()
    with pytest.raises(UserError, match=r"'tiny' is already registered with other files"):
        register_panoptic("tiny", tmp_path, tiny.json, tiny.panoptic)


def test_names_of_detectron2_are_left_alone(tiny):
    loader = DatasetCatalog["coco_2017_val_panoptic"]
    with pytest.raises(UserError, match="choose another name"):
        tiny.register("coco_2017_val_panoptic")
    assert DatasetCatalog["coco_2017_val_panoptic"] is loader


def test_register_from_config(tiny, cfg):
    tiny.add(IDS, SEGMENTS)
    tiny.write()
    entry = ["own", str(tiny.images), str(tiny.json), str(tiny.panoptic)]
    cfg.DATASETS.REGISTER = [entry]
    register_from_config(cfg)
    assert len(DatasetCatalog.get("own")) == 1
    for wrong in ([entry[:2]], None, "own"):
        cfg.DATASETS.REGISTER = wrong
        with pytest.raises(UserError, match=r"DATASETS.REGISTER .* write \[name"):
            register_from_config(cfg)


def _break(tiny, how: str) -> None:
    annotation = tiny.content["annotations"][0]
    segment = annotation["segments_info"][0]
    if how == "image":
        (tiny.images / "picture_1.png").unlink()
    elif how == "png":
        (tiny.panoptic / "picture_1.png").unlink()
    elif how == "category":
        segment["category_id"] = 99
    elif how == "double segment":
        annotation["segments_info"].append(dict(segment))
    elif how == "double image":
        tiny.content["annotations"].append(annotation)
    elif how == "void segment":
        segment["id"] = 0
    elif how == "large segment":
        segment["id"] = 2**24
    elif how == "text segment":
        segment["id"] = "1"
    elif how == "key":
        del annotation["segments_info"]
    elif how == "nothing":
        tiny.content.update(images=[], annotations=[])


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ("image", UserError, r"Image 'picture_1.png' of '.*panoptic.json' is not in"),
        ("png", UserError, r"Panoptic PNG 'picture_1.png' of .* is not in"),
        ("category", UserError, r"Segment 70000 of 'picture_1.png' .* has category 99"),
        ("double segment", UserError, r"Segment id 70000 of 'picture_1.png' .* listed twice"),
        ("double image", UserError, r"Image 1 is twice in '.*panoptic.json'"),
        (
            "void segment",
            UserError,
            r"'id' of segments_info\[0\] of 'picture_1.png' in .* is 0: write",
        ),
        ("large segment", UserError, r"'id' of .* is 16777216: write an integer of 1"),
        ("text segment", UserError, r"'id' of .* is '1': write an integer of 1"),
        ("key", UserError, r"annotations\[0\] of '.*' lacks 'segments_info': add"),
        ("nothing", UserError, r"panoptic.json' has neither 'annotations' nor 'images'"),
    ],
)
def test_bad_records_are_told_by_name(tiny, how, error, message):
    tiny.add(IDS, SEGMENTS)
    _break(tiny, how)
    with pytest.raises(error, match=message):
        tiny.records()


def test_missing_json_and_folders(tiny):
    with pytest.raises(UserError, match=r"panoptic.json' does not exist"):
        register_panoptic("tiny", tiny.images, tiny.json, tiny.panoptic)
    tiny.add(IDS, SEGMENTS)
    tiny.images.rename(tiny.root / "moved")
    with pytest.raises(UserError, match=r"Folder '.*images' does not exist"):
        tiny.records()


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        ([], "has no list 'categories'"),
        ([{"id": 1, "name": "cat"}], r"categories\[0\] of '.*' lacks 'isthing': add 1 for"),
        ([{"id": 1, "name": "a", "isthing": 1}] * 2, "Category id 1 is there twice"),
    ],
)
def test_bad_categories(tiny, categories, message):
    tiny.content["categories"] = categories
    with pytest.raises(UserError, match=message):
        tiny.register()


def test_evaluators_of_detectron2_can_invert_the_maps(tiny):
    """Its panoptic evaluator turns both maps round and looks an id up in things first."""
    metadata = MetadataCatalog.get(tiny.register())
    for key in ("thing_dataset_id_to_contiguous_id", "stuff_dataset_id_to_contiguous_id"):
        values = list(metadata.get(key).values())
        assert len(set(values)) == len(values)
    assert sorted(metadata.stuff_dataset_id_to_contiguous_id.values()) == list(np.arange(4))
