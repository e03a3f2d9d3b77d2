"""Reading data, loaders and mappers, the same on both backends."""

import json

import numpy as np
import pycocotools.mask as mask_util
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image, ImageOps

from d2_psformer.d2 import from_backend
from d2_psformer.d2.data import (
    DatasetCatalog,
    DatasetFromList,
    MapDataset,
    MetadataCatalog,
    get_detection_dataset_dicts,
    register_coco_instances,
)
from d2_psformer.d2.data import transforms as T
from d2_psformer.d2.structures import BitMasks
from d2_psformer.utils.errors import UserError

detection_utils = from_backend("data")("detection_utils")
register_coco_panoptic = from_backend("data.datasets")("register_coco_panoptic")
XYXY, XYWH = 0, 1  # Values of BoxMode.
H, W = 40, 60
SQUARE = [[10, 10, 30, 10, 30, 30, 10, 30]]  # As a polygon: 20 by 20 pixels.
RIGHT_HALF = np.asfortranarray(np.indices((H, W))[1] >= 30).astype(np.uint8)


@pytest.fixture
def register():
    """Registers data sets that are forgotten after the test."""
    before = set(DatasetCatalog)
    yield DatasetCatalog.register
    for name in set(DatasetCatalog) - before:
        DatasetCatalog.remove(name)
        MetadataCatalog.pop(name, None)


def save_image(path, seed=0, size=(W, H), **options):
    pixels = np.random.RandomState(seed).randint(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return pixels


def coco_annotation(i, image_id, category, segmentation, **more):
    return {
        "id": i,
        "image_id": image_id,
        "category_id": category,
        "bbox": [10, 10, 20, 20],
        "area": 400,
        "iscrowd": 0,
        "segmentation": segmentation,
        **more,
    }


@pytest.fixture
def coco(tmp_path, register):
    """A registered data set of three images, of which the last shows only a crowd."""
    code = mask_util.encode(RIGHT_HALF)
    lengths = [int(n) for n in (30 * H, 30 * H)]  # Column by column: left half 0, right half 1.
    content = {
        "images": [
            {"id": i, "file_name": f"{i}.png", "height": H, "width": W} for i in (12, 3, 40)
        ],
        "categories": [{"id": 9, "name": "dog"}, {"id": 4, "name": "cat"}],
        "annotations": [
            coco_annotation(1, 3, 9, SQUARE),
            coco_annotation(2, 3, 4, {**code, "counts": code["counts"].decode()}),
            coco_annotation(3, 12, 4, {"counts": lengths, "size": [H, W]}),
            coco_annotation(4, 40, 4, {"counts": lengths, "size": [H, W]}, iscrowd=1),
        ],
    }
    for i in (12, 3, 40):
        save_image(tmp_path / f"{i}.png", seed=i)
    (tmp_path / "coco.json").write_text(json.dumps(content))
    register_coco_instances("contract_coco", {}, str(tmp_path / "coco.json"), str(tmp_path))
    return tmp_path


def test_coco_instances_are_read(coco):
    dicts = DatasetCatalog.get("contract_coco")
    assert [d["image_id"] for d in dicts] == [3, 12, 40]
    assert dicts[0]["file_name"] == str(coco / "3.png")
    assert (dicts[0]["height"], dicts[0]["width"]) == (H, W)
    metadata = MetadataCatalog.get("contract_coco")
    assert metadata.thing_classes == ["cat", "dog"]
    assert metadata.thing_dataset_id_to_contiguous_id == {4: 0, 9: 1}
    assert metadata.evaluator_type == "coco"
    assert [[a["category_id"] for a in d["annotations"]] for d in dicts] == [[1, 0], [0], [0]]
    assert dicts[0]["annotations"][0]["bbox_mode"] == XYWH
    assert dicts[0]["annotations"][0]["segmentation"] == SQUARE
    for annotation in (dicts[0]["annotations"][1], dicts[1]["annotations"][0]):
        assert_array_equal(mask_util.decode(annotation["segmentation"]), RIGHT_HALF)
    assert dicts[2]["annotations"][0]["iscrowd"] == 1


def test_polygons_of_two_points_are_left_out(coco):
    content = json.loads((coco / "coco.json").read_text())
    content["annotations"][0]["segmentation"] = [[1, 1, 2, 2], *SQUARE]
    content["annotations"].append(coco_annotation(5, 3, 4, [[1, 1, 2, 2]]))
    (coco / "coco.json").write_text(json.dumps(content))
    annotations = DatasetCatalog.get("contract_coco")[0]["annotations"]
    assert len(annotations) == 2 and annotations[0]["segmentation"] == SQUARE


def test_a_category_that_is_not_listed_is_named(coco):
    content = json.loads((coco / "coco.json").read_text())
    content["annotations"][1]["category_id"] = 77
    (coco / "coco.json").write_text(json.dumps(content))
    with pytest.raises(KeyError, match="77"):
        DatasetCatalog.get("contract_coco")


@pytest.fixture
def panoptic(tmp_path, register):
    """Registers a panoptic data set of one image with the given segments; returns its name."""

    def make(segments):
        save_image(tmp_path / "a.jpg")
        Image.new("RGB", (W, H)).save(tmp_path / "a.png")
        annotation = {"image_id": 5, "file_name": "a.png", "segments_info": segments}
        (tmp_path / "panoptic.json").write_text(json.dumps({"annotations": [annotation]}))
        metadata = {
            "thing_classes": ["cat"],
            "thing_dataset_id_to_contiguous_id": {4: 0},
            "stuff_dataset_id_to_contiguous_id": {9: 1},
        }
        folder = str(tmp_path)
        register_coco_panoptic(
            "contract_panoptic", metadata, folder, folder, f"{folder}/panoptic.json", "i.json"
        )
        return "contract_panoptic"

    return make


def test_coco_panoptic_is_read(panoptic, tmp_path):
    segment = {"iscrowd": 0, "bbox": [0, 0, 5, 5], "area": 25}
    name = panoptic([{"id": 7, "category_id": 9, **segment}, {"id": 8, "category_id": 4}])
    (sample,) = DatasetCatalog.get(name)
    assert sample == {
        "file_name": str(tmp_path / "a.jpg"),
        "image_id": 5,
        "pan_seg_file_name": str(tmp_path / "a.png"),
        "segments_info": [
            {"id": 7, "category_id": 1, "isthing": False, **segment},
            {"id": 8, "category_id": 0, "isthing": True},
        ],
    }
    metadata = MetadataCatalog.get(name)
    assert metadata.evaluator_type == "coco_panoptic_seg" and metadata.thing_classes == ["cat"]
    assert metadata.panoptic_root == metadata.image_root == str(tmp_path)
    assert metadata.json_file == "i.json"
    assert (metadata.ignore_label, metadata.label_divisor) == (255, 1000)


def test_a_segment_of_an_unknown_category_is_refused(panoptic):
    name = panoptic([{"id": 7, "category_id": 5}])
    with pytest.raises(KeyError, match="5"):
        DatasetCatalog.get(name)


def test_images_without_usable_annotations_are_left_out(coco):
    assert [d["image_id"] for d in get_detection_dataset_dicts("contract_coco")] == [3, 12]
    assert len(get_detection_dataset_dicts(["contract_coco"], filter_empty=False)) == 3


def test_data_sets_are_chained_if_their_classes_agree(register):
    for name in ("one", "two", "other"):
        sample = {"image_id": name, "annotations": [{"category_id": 0}]}
        register(f"contract_{name}", lambda sample=sample: [sample])
        classes = ["dog"] if name == "other" else ["cat"]
        MetadataCatalog.get(f"contract_{name}").thing_classes = classes
    both = get_detection_dataset_dicts(["contract_one", "contract_two"])
    assert [d["image_id"] for d in both] == ["one", "two"]
    with pytest.raises(ValueError, match="thing_classes"):
        get_detection_dataset_dicts(["contract_one", "contract_other"])


def test_nothing_to_load_is_an_error(register):
    register("contract_empty", list)
    with pytest.raises((AssertionError, UserError), match="contract_empty"):
        get_detection_dataset_dicts("contract_empty")
    with pytest.raises(KeyError, match="no_such_set"):
        get_detection_dataset_dicts("no_such_set")
    with pytest.raises((AssertionError, UserError)):
        get_detection_dataset_dicts([])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_read_upright(tmp_path, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    save_image(tmp_path / "a.png", exif=exif)
    read = detection_utils.read_image(str(tmp_path / "a.png"), "RGB")
    assert_array_equal(read, ImageOps.exif_transpose(Image.open(tmp_path / "a.png")))


def test_formats(tmp_path):
    path = str(tmp_path / "a.png")
    pixels = save_image(path)
    assert_array_equal(detection_utils.read_image(path), pixels)
    assert_array_equal(detection_utils.read_image(path, "RGB"), pixels)
    assert_array_equal(detection_utils.read_image(path, "BGR"), pixels[:, :, ::-1])
    grey = detection_utils.read_image(path, "L")
    assert grey.shape == (H, W, 1) and grey.dtype == np.uint8


def test_missing_and_broken_images(tmp_path):
    with pytest.raises(FileNotFoundError):
        detection_utils.read_image(str(tmp_path / "none.png"))
    (tmp_path / "text.png").write_text("not an image")
    save_image(tmp_path / "a.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:500])
    for name in ("text.png", "cut.png"):
        with pytest.raises(OSError):
            detection_utils.read_image(str(tmp_path / name), "RGB")


def test_annotations_move_with_the_image():
    annotation = {"bbox": [10, 10, 20, 20], "bbox_mode": XYWH}
    moved = detection_utils.transform_instance_annotations(
        annotation, [T.HFlipTransform(W), T.CropTransform(25, 0, 20, H)], (H, 20)
    )
    # 10...30 -> 30...50 flipped -> 5...25 cropped -> clipped at 20.
    assert_allclose(moved["bbox"], [5, 10, 20, 30])
    assert moved["bbox_mode"] == XYXY


def test_flipped_polygons_and_rles_agree():
    polygon = {"bbox": [10, 10, 20, 20], "bbox_mode": XYWH, "segmentation": SQUARE}
    square = np.zeros((H, W), dtype=np.uint8, order="F")
    square[10:30, 10:30] = 1
    rle = {**polygon, "segmentation": mask_util.encode(square)}
    objects = [
        {**detection_utils.transform_instance_annotations(a, T.HFlipTransform(W), (H, W)), **c}
        for a, c in ((polygon, {"category_id": 3}), (rle, {"category_id": 5}))
    ]
    instances = detection_utils.annotations_to_instances(objects, (H, W), mask_format="bitmask")
    assert isinstance(instances.gt_masks, BitMasks) and instances.image_size == (H, W)
    assert instances.gt_classes.tolist() == [3, 5]
    assert_allclose(instances.gt_boxes.tensor, [[30, 10, 50, 30]] * 2)
    for mask in instances.gt_masks:
        assert_array_equal(mask, square[:, ::-1])


def test_no_annotations_make_no_instances():
    instances = detection_utils.annotations_to_instances([], (H, W))
    assert len(instances) == 0 and instances.gt_boxes.tensor.shape == (0, 4)


def test_empty_instances_are_dropped():
    objects = [
        {"bbox": box, "bbox_mode": XYXY, "category_id": i, "segmentation": mask}
        for i, (box, mask) in enumerate(
            [
                ([0, 0, 5, 5], RIGHT_HALF),
                ([0, 0, 0, 5], RIGHT_HALF),
                ([0, 0, 5, 5], np.zeros_like(RIGHT_HALF)),
            ]
        )
    ]
    instances = detection_utils.annotations_to_instances(objects, (H, W), mask_format="bitmask")
    assert detection_utils.filter_empty_instances(instances).gt_classes.tolist() == [0]
    by_box = detection_utils.filter_empty_instances(instances, by_mask=False)
    assert by_box.gt_classes.tolist() == [0, 2]


def _double(x):
    return 2 * x


def test_a_list_is_copied():
    samples = [{"a": [1]}, {"a": [2]}]
    for options in ({}, {"serialize": False}):
        dataset = DatasetFromList(samples, **options)
        dataset[1]["a"].append(3)
        assert len(dataset) == 2 and dataset[1] == {"a": [2]} and dataset[0] == {"a": [1]}
    shared = DatasetFromList(samples, copy=False, serialize=False)
    assert shared[0] is samples[0]


def test_another_sample_stands_in_for_an_unusable_one():
    dataset = MapDataset(DatasetFromList(list(range(5))), lambda x: x if x % 2 else None)
    assert len(dataset) == 5 and dataset[3] == 3
    assert all(dataset[i] in (1, 3) for i in (0, 2, 4))
