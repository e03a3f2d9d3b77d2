"""PanopticResult against pycocotools, supervision and the files that it writes."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as mask_util
from tiny_model import TOYS

from d2_psformer.api import PanopticResult
from d2_psformer.d2.data import MetadataCatalog
from d2_psformer.d2.structures import Boxes, Instances
from d2_psformer.data.panoptic_png import read_panoptic_png
from d2_psformer.engine import restore_class_metadata

IDS = np.zeros((40, 60), np.int32)
IDS[:20], IDS[5:15, 10:30], IDS[30:, 50:] = 1, 2, 4
INFO = [
    {"id": 1, "category_id": 3, "isthing": False, "score": 0.9, "area": 1000},
    {"id": 2, "category_id": 0, "isthing": True, "score": 0.25, "area": 200},
    {"id": 4, "category_id": 0, "isthing": True, "score": 0.5, "area": 100},
]
PANOPTIC = {"panoptic_seg": (torch.from_numpy(IDS), INFO)}
IMAGE = np.full((40, 60, 3), 90, np.uint8)


def result(outputs=PANOPTIC, **options) -> PanopticResult:
    restore_class_metadata(TOYS)
    return PanopticResult(IMAGE, outputs, MetadataCatalog.get(TOYS["name"]), **options)


def test_segments_have_both_ids_of_their_class():
    stuff, first, second = result().segments
    assert (stuff.class_name, stuff.category_id, stuff.class_index) == ("wall", 25, 3)
    assert (first.class_name, first.category_id, first.class_index) == ("ball", 3, 0)
    assert not stuff.is_thing and first.is_thing
    assert (first.id, first.area, first.score, first.box) == (2, 200, 0.25, (10, 5, 30, 15))
    assert (second.id, second.box) == (4, (50, 30, 60, 40))
    assert result().panoptic.dtype == np.int32


def test_instances_are_the_things_with_their_masks():
    found = result().instances
    assert [thing.id for thing in found] == [4, 2], "surest first"
    for thing in found:
        np.testing.assert_array_equal(thing.mask, thing.id == IDS)


def test_the_semantic_map_follows_from_the_segments():
    expected = np.select([IDS == 1, IDS > 1], [3, 0], -1)
    np.testing.assert_array_equal(result().semantic, expected)
    nothing = {"panoptic_seg": (torch.zeros(40, 60, dtype=torch.int32), [])}
    assert (result(nothing).semantic == -1).all()


def test_semantic_and_instance_results_of_the_model_come_first():
    scores = torch.rand(4, 40, 60, generator=torch.Generator().manual_seed(0))
    found = Instances((40, 60))
    found.pred_masks = torch.ones(2, 40, 60, dtype=torch.bool)
    found.pred_boxes = Boxes(torch.zeros(2, 4))
    found.scores = torch.tensor([0.1, 0.3])
    found.pred_classes = torch.tensor([1, 0])
    three = result(PANOPTIC | {"sem_seg": scores, "instances": found})
    np.testing.assert_array_equal(three.semantic, scores.argmax(0).numpy())
    assert [thing.class_name for thing in three.instances] == ["ball", "box"]
    assert three.instances[0].box == (0, 0, 60, 40)
    assert len(three.segments) == 3

    alone = result({"sem_seg": scores})
    assert {segment.score for segment in alone.segments} == {None}
    np.testing.assert_array_equal(alone.panoptic, scores.argmax(0).numpy() + 1)
    assert [segment.class_name for segment in result({"instances": found}).segments] == []


def test_coco_annotations_are_what_pycocotools_measures():
    annotations = json.loads(json.dumps(result().to_coco(image_id=7)))
    assert [a["category_id"] for a in annotations] == [25, 3, 3]
    assert {a["image_id"] for a in annotations} == {7}
    for annotation, info in zip(annotations, INFO, strict=True):
        mask = mask_util.decode(annotation["segmentation"])
        np.testing.assert_array_equal(mask, info["id"] == IDS)
        assert annotation["area"] == mask_util.area(annotation["segmentation"])
        assert annotation["bbox"] == mask_util.toBbox(annotation["segmentation"]).tolist()
        assert annotation["score"] == info["score"]


def test_supervision_reads_the_same_segments():
    supervision = pytest.importorskip("supervision")
    found = result().to_supervision()
    assert isinstance(found, supervision.Detections)
    np.testing.assert_array_equal(found.area, [1000, 200, 100])
    np.testing.assert_array_equal(found.xyxy, [segment.box for segment in result().segments])
    np.testing.assert_array_equal(found.class_id, [3, 0, 0])
    np.testing.assert_array_equal(found["category_id"], [25, 3, 3])
    assert found.confidence.tolist() == pytest.approx([0.9, 0.25, 0.5])
    annotated = supervision.MaskAnnotator().annotate(IMAGE.copy(), found)
    assert (annotated != IMAGE).any()
    nothing = {"panoptic_seg": (torch.zeros(40, 60, dtype=torch.int32), [])}
    assert len(result(nothing).to_supervision()) == 0


def test_pictures():
    picture = result().draw()
    assert picture.mode == "RGB" and picture.size == (640, 427)
    assert len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 10
    row = result().draw(side_by_side=True)
    assert row.width > 2 * 640 and row.height < row.width
    assert result()._repr_png_().startswith(b"\x89PNG")


def test_saved_files(tmp_path):
    result(name="street", source="photos/street.jpg").save(tmp_path / "new")
    names = {"street_overlay.jpg", "street_ids.png", "street_segments.json"}
    assert {path.name for path in (tmp_path / "new").iterdir()} == names
    np.testing.assert_array_equal(read_panoptic_png(tmp_path / "new" / "street_ids.png"), IDS)
    written = json.loads((tmp_path / "new" / "street_segments.json").read_text())
    assert written["image"] == "photos/street.jpg"
    ids = [(s["category_id"], s["class_index"]) for s in written["segments_info"]]
    assert ids == [(25, 3), (3, 0), (3, 0)]
    with Image.open(tmp_path / "new" / "street_overlay.jpg") as picture:
        assert picture.width == 640 and picture.height > 427  # a legend lies below


def test_it_can_be_read_in_a_terminal():
    text = "<PanopticResult 'image', 60 x 40 pixels, 3 segments: 2 ball, wall>"
    assert repr(result()) == text
    nothing = {"panoptic_seg": (torch.zeros(40, 60, dtype=torch.int32), [])}
    assert repr(result(nothing)) == "<PanopticResult 'image', 60 x 40 pixels, 0 segments>"
