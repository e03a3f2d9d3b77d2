"""Bad data are reported in one sentence that names the file; further tests of d2lite's data."""

import json
import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from d2_psformer.d2lite.data import DatasetCatalog, MapDataset, detection_utils
from d2_psformer.d2lite.data import transforms as T
from d2_psformer.d2lite.data.datasets import load_coco_json, load_coco_panoptic_json
from d2_psformer.d2lite.data.datasets.builtin_meta import (
    CITYSCAPES_CATEGORIES,
    COCO_CATEGORIES,
    panoptic_metadata,
)
from d2_psformer.d2lite.data.datasets.coco_panoptic import load_cityscapes_panoptic
from d2_psformer.d2lite.errors import UnknownKeyError, UserError
from d2_psformer.d2lite.structures import BoxMode

META = panoptic_metadata(COCO_CATEGORIES)


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def one_sentence(error, *words):
    """The message is one sentence with all the words."""
    message = error.value.args[0]
    assert message.endswith(".") and "\n" not in message
    assert [word for word in words if str(word) not in message] == []


@pytest.mark.parametrize("load", [load_coco_json, load_coco_panoptic_json])
@pytest.mark.parametrize(
    ("content", "word"),
    [
        (None, "DETECTRON2_DATASETS"),
        ("{oops", "JSON"),
        ([1, 2], "no '"),
        ({"info": {}}, "no '"),
    ],
)
def test_annotation_files(tmp_path, load, content, word):
    path = tmp_path / "annotations.json"
    if content is not None:
        write(path, content)
    arguments = (str(tmp_path), str(tmp_path), META) if load is load_coco_panoptic_json else ("",)
    with pytest.raises(UserError) as raised:
        load(str(path), *arguments)
    one_sentence(raised, path, word)


def panoptic_json(tmp_path, category=1):
    segments = [{"id": 7, "category_id": category}]
    annotation = {"image_id": 3, "file_name": "a.png", "segments_info": segments}
    return write(tmp_path / "p.json", {"annotations": [annotation]})


def test_a_category_without_metadata(tmp_path):
    path = panoptic_json(tmp_path, category=83)
    with pytest.raises(UnknownKeyError) as raised:
        load_coco_panoptic_json(path, "", "", META)
    one_sentence(raised, path, "Segment 7", "image 3", "category 83")


def test_wrong_folders(tmp_path):
    path = panoptic_json(tmp_path)
    (tmp_path / "a.jpg").touch()
    for images, labels, missing in ((".", str(tmp_path), "a.jpg"), (str(tmp_path), ".", "a.png")):
        with pytest.raises(UserError) as raised:
            load_coco_panoptic_json(path, images, labels, META)
        one_sentence(raised, path, missing)
    with pytest.raises(UserError, match="no image"):
        load_coco_panoptic_json(write(tmp_path / "e.json", {"annotations": []}), "", "", META)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"bbox": []}, UserError, ["Annotation 4", "bbox"]),
        ({"category_id": 5}, UnknownKeyError, ["Annotation 4", "category_id 5"]),
        ({"id": 3}, UserError, ["more than once"]),
    ],
)
def test_broken_annotations(tmp_path, change, error, words):
    good = {"id": 3, "image_id": 1, "category_id": 2, "bbox": [0, 0, 1, 1]}
    content = {
        "images": [{"id": 1, "file_name": "a", "height": 2, "width": 2}],
        "categories": [{"id": 2, "name": "cat"}],
        "annotations": [good, {**good, "id": 4, **change}],
    }
    path = write(tmp_path / "i.json", content)
    with pytest.raises(error) as raised:
        load_coco_json(path, "", "errors_of_d2lite")
    one_sentence(raised, path, *words)


def test_an_unregistered_name():
    with pytest.raises(UnknownKeyError, match=r"^Data set .no_such_set. is not registered; known"):
        DatasetCatalog.get("no_such_set")


def test_cityscapes(tmp_path):
    meta = panoptic_metadata(CITYSCAPES_CATEGORIES)
    images, labels = tmp_path / "leftImg8bit/val", tmp_path / "gtFine/cityscapes_panoptic_val"
    stem = "ulm_000001_000019"
    for path in (images / f"ulm/{stem}_leftImg8bit.png", labels / f"{stem}_gtFine_panoptic.png"):
        path.parent.mkdir(parents=True)
        path.touch()
    annotation = {
        "image_id": stem,
        "file_name": f"{stem}_gtFine_panoptic.png",
        "segments_info": [{"id": 26001, "category_id": 26}, {"id": 7, "category_id": 7}],
    }
    path = write(tmp_path / "gtFine/p.json", {"annotations": [annotation]})
    (sample,) = load_cityscapes_panoptic(str(images), str(labels), path, meta)
    assert sample == {
        "file_name": str(images / f"ulm/{stem}_leftImg8bit.png"),
        "image_id": stem,
        "sem_seg_file_name": str(tmp_path / f"gtFine/val/ulm/{stem}_gtFine_labelTrainIds.png"),
        "pan_seg_file_name": str(labels / f"{stem}_gtFine_panoptic.png"),
        "segments_info": [
            {"id": 26001, "category_id": 13, "isthing": True},
            {"id": 7, "category_id": 0, "isthing": False},
        ],
    }


def test_the_categories_are_coco_s():
    assert [c["id"] for c in COCO_CATEGORIES] == sorted({c["id"] for c in COCO_CATEGORIES})
    assert sum(c["isthing"] for c in COCO_CATEGORIES) == 80 and len(COCO_CATEGORIES) == 133
    assert [c["trainId"] for c in CITYSCAPES_CATEGORIES] == list(range(19))


def test_polygons_are_cropped_without_further_packages():
    """Detectron2 needs shapely for this."""
    annotation = {
        "bbox": [0, 0, 20, 20],
        "bbox_mode": BoxMode.XYXY_ABS,
        "category_id": 0,
        "segmentation": [[0, 0, 20, 0, 20, 20, 0, 20], [30, 30, 40, 30, 40, 40]],
    }
    detection_utils.transform_instance_annotations(
        annotation, T.CropTransform(10, 5, 15, 12), (12, 15)
    )
    masks = detection_utils.annotations_to_instances([annotation], (12, 15)).gt_masks
    expected = np.zeros((12, 15), dtype=bool)
    expected[:12, :10] = True
    assert_array_equal(masks.tensor[0], expected)


def test_an_unusable_data_set_does_not_search_forever():
    with pytest.raises(RuntimeError, match="No sample"):
        MapDataset([1, 2, 3], lambda x: None)[0]


def test_data_sets_can_be_sent_to_worker_processes():
    dataset = pickle.loads(pickle.dumps(MapDataset([1, 2, 3], str)))
    assert dataset[1] == "2" and len(dataset) == 3


def test_a_tiff_is_turned_once(tmp_path):
    stored = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(stored).save(tmp_path / "a.tif", exif=exif)
    read = detection_utils.read_image(str(tmp_path / "a.tif"), "RGB")
    assert_array_equal(read, np.rot90(stored, -1))
