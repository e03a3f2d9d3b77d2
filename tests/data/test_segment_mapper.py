import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from d2_psformer import add_psformer_config
from d2_psformer.d2 import BACKEND, from_backend
from d2_psformer.d2.config import get_cfg
from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog, transforms
from d2_psformer.d2.structures import BitMasks, Boxes
from d2_psformer.data import (
    SegmentMapper,
    read_panoptic_png,
    register_panoptic,
    write_panoptic_png,
)
from d2_psformer.data.label_masks import LabelMasks
from d2_psformer.utils.errors import UserError

EXIF_ORIENTATION = 274


def _scene(height=60, width=80, seed=0):
    """Rectangles over two bands, a crowd (id 300) and void, ids of one to three bytes."""
    rng = np.random.default_rng(seed)
    ids = np.full((height, width), 65536)
    ids[height // 2 :] = 16777215
    segments = [(65536, 40), (16777215, 12)]
    for number, category, crowd in ((1, 7, 0), (256, 3, 0), (300, 7, 1), (70001, 3, 0), (0, 0, 0)):
        y, x = rng.integers(0, height - 12), rng.integers(0, width - 12)
        ids[y : y + rng.integers(5, 12), x : x + rng.integers(5, 12)] = number
        if number:
            segments.append((number, category, crowd))
    present = set(np.unique(ids))
    return ids, [s for s in segments if s[0] in present]


def _check_against_naive(sample, ids, segments_info):
    """``ids`` are the augmented ones; masks, boxes and classes segment by segment."""
    instances = sample["instances"]
    expected = [s for s in segments_info if not s["iscrowd"] and (ids == s["id"]).any()]
    assert instances.image_size == ids.shape == tuple(sample["image"].shape[1:])
    assert len(instances) == len(expected)
    assert instances.gt_classes.dtype == torch.int64
    assert instances.gt_classes.tolist() == [s["category_id"] for s in expected]
    assert isinstance(instances.gt_masks, BitMasks)
    assert isinstance(instances.gt_boxes, Boxes)
    assert instances.gt_boxes.tensor.dtype == torch.float32
    assert instances.gt_masks.tensor.dtype == torch.bool
    for k, segment in enumerate(expected):
        mask = ids == segment["id"]
        np.testing.assert_array_equal(instances.gt_masks.tensor[k].numpy(), mask)
        y, x = np.nonzero(mask)
        box = [x.min(), y.min(), x.max() + 1, y.max() + 1]
        assert instances.gt_boxes.tensor[k].tolist() == box
    classes = np.full(ids.shape, 255)
    for segment in segments_info:  # crowds too
        classes[ids == segment["id"]] = segment["category_id"]
    assert sample["sem_seg"].dtype == torch.int64
    np.testing.assert_array_equal(sample["sem_seg"], classes)


def test_training_sample_equals_the_naive_computation(tiny, cfg):
    ids, segments = _scene()
    tiny.add(ids, segments)
    record = tiny.records()[0]
    sample = SegmentMapper(cfg, True)(record)
    assert sample["image"].dtype == torch.uint8
    image = np.asarray(Image.open(record["file_name"]))
    np.testing.assert_array_equal(sample["image"].permute(1, 2, 0).numpy(), image)
    assert (sample["height"], sample["width"]) == (60, 80)
    assert {k: sample[k] for k in record} == record
    _check_against_naive(sample, ids, record["segments_info"])


def test_real_images(real_data, cfg):
    register_panoptic(
        "real", real_data / "images", real_data / "panoptic.json", real_data / "panoptic"
    )
    mapper = SegmentMapper(cfg, True)
    records = DatasetCatalog.get("real")
    assert len(records) == 14
    for record in records[:6]:
        ids = read_panoptic_png(record["pan_seg_file_name"])
        _check_against_naive(mapper(record), ids, record["segments_info"])


def test_records_of_detectron2_map_alike(tiny, cfg):
    """Its own loader of COCO-panoptic data knows no sizes; everything else is the same."""
    tiny.add(*_scene(), extension=".jpg")
    (ours,) = tiny.records()
    known = MetadataCatalog.get("tiny").as_dict()
    keys = [key for key in known if key.startswith(("thing_", "stuff_"))]
    from_backend("data.datasets")("register_coco_panoptic")(
        "theirs", {k: known[k] for k in keys}, str(tiny.images), str(tiny.panoptic), str(tiny.json)
    )
    (theirs,) = DatasetCatalog.get("theirs")
    assert theirs == {k: v for k, v in ours.items() if k not in ("height", "width")}
    mapper = SegmentMapper(cfg, True)
    first, second = mapper(ours), mapper(theirs)
    assert first.keys() == second.keys()
    assert torch.equal(first["instances"].gt_classes, second["instances"].gt_classes)


@pytest.mark.parametrize("seed", range(8))
def test_flip_crop_and_resize_move_masks_and_image_together(tiny, cfg, seed):
    """The image is the PNG itself, so an exact (nearest) transform must keep the two equal."""
    ids, segments = _scene(seed=seed)
    tiny.add(ids, segments)
    record = tiny.records()[0]
    record["file_name"] = record["pan_seg_file_name"]
    nearest = transforms.ResizeShortestEdge(97, interp=Image.Resampling.NEAREST)
    mapper = SegmentMapper(
        True,
        augmentations=[
            transforms.RandomFlip(),
            transforms.RandomCrop("absolute_range", (20, 50)),
            nearest,
            transforms.RandomFlip(horizontal=False, vertical=True),
        ],
        image_format="RGB",
    )
    np.random.seed(seed)
    sample = mapper(record)
    red, green, blue = sample["image"].to(torch.int64)
    augmented = (red + 256 * green + 65536 * blue).numpy()
    assert min(augmented.shape) == 97
    assert (sample["height"], sample["width"]) == (60, 80)
    _check_against_naive(sample, augmented, record["segments_info"])


@pytest.mark.parametrize("count", [2, 300])
@pytest.mark.parametrize("value", [0, 255])
def test_padding_is_void(tiny, cfg, value, count):
    tiny.add(np.arange(1, count + 1)[None], [(i, 7) for i in range(1, count + 1)])
    pad = transforms.PadTransform(0, 0, 1, 2, orig_w=count, orig_h=1, seg_pad_value=value)
    mapper = SegmentMapper(True, augmentations=[pad], image_format="RGB")
    instances = mapper(tiny.records()[0])["instances"]
    assert instances.gt_masks.tensor.shape == (count, 3, count + 1)
    assert instances.gt_masks.tensor.sum() == count
    assert (instances.gt_boxes.area() == 1).all()


def test_a_label_map_leaves_the_worker_not_its_masks(tiny, cfg):
    tiny.add([[1, 1], [2, 2]], [(1, 7), (2, 40)])
    masks = SegmentMapper(cfg, True)(tiny.records()[0])["instances"].gt_masks
    assert isinstance(masks, LabelMasks) and "tensor" not in vars(masks)


def test_two_segments_of_one_stuff_class_stay_apart(tiny, cfg):
    tiny.add([[1, 0, 2]], [(1, 40), (2, 40)])
    instances = SegmentMapper(cfg, True)(tiny.records()[0])["instances"]
    assert instances.gt_classes.tolist() == [3, 3]
    assert instances.gt_masks.tensor.tolist() == [[[True, False, False]], [[False, False, True]]]


@pytest.mark.parametrize("segments", [[], [(9, 7, 1)]])
def test_images_with_nothing_to_learn(tiny, cfg, segments):
    tiny.add(np.full((4, 5), 9 if segments else 0), segments)
    instances = SegmentMapper(cfg, True)(tiny.records()[0])["instances"]
    assert len(instances) == 0
    assert instances.gt_masks.tensor.shape == (0, 4, 5)
    assert instances.gt_boxes.tensor.shape == (0, 4)
    assert instances.gt_classes.dtype == torch.int64


def test_more_segments_than_a_byte_counts(tiny, cfg):
    ids = np.arange(1, 601).reshape(20, 30)
    tiny.add(ids, [(i, 7) for i in range(1, 601)])
    cfg.INPUT.MIN_SIZE_TRAIN = (40,)
    instances = SegmentMapper(cfg, True)(tiny.records()[0])["instances"]
    assert len(instances) == 600
    assert (instances.gt_masks.tensor.sum(dim=(1, 2)) == 4).all()


def test_inference_needs_no_annotation(tiny, cfg):
    tiny.add(*_scene())
    record = tiny.records()[0]
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = 30, 35
    del record["height"], record["width"]
    os.remove(record["pan_seg_file_name"])
    sample = SegmentMapper(cfg, False)(record)
    assert "instances" not in sample
    assert sample["image"].shape == (3, 26, 35)
    assert (sample["height"], sample["width"]) == (60, 80)
    with pytest.raises(UserError, match=r"picture_1.png' does not exist"):
        SegmentMapper(cfg, True)(record)
    del record["pan_seg_file_name"]
    with pytest.raises(UserError, match=r"has no ground truth, none of pan_seg"):
        SegmentMapper(cfg, True)(record)


def test_a_record_without_its_segments_is_named(tiny, cfg):
    tiny.add(*_scene())
    record = tiny.records()[0]
    del record["segments_info"]
    with pytest.raises(UserError, match=r"record of '.*picture_1.png' has no 'segments_info'"):
        SegmentMapper(cfg, True)(record)


@pytest.mark.parametrize("shape", [(1, 300), (300, 1), (1, 1)])
def test_sides_of_one_pixel(tiny, cfg, shape):
    ids = np.full(shape, 70000)
    ids[:1, :1] = 5
    tiny.add(ids, [(5, 7), (70000, 40)][: ids.size])
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MAX_SIZE_TRAIN = (90,), 120
    sample = SegmentMapper(cfg, True)(tiny.records()[0])
    assert min(sample["image"].shape[1:]) >= 1
    assert len(sample["instances"]) >= 1


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK"])
def test_every_image_becomes_three_channels(tiny, cfg, mode):
    tiny.add([[1, 1], [2, 2]], [(1, 7), (2, 40)])
    record = tiny.records()[0]
    record["file_name"] = str(tiny.root / "other.tif")
    Image.new(mode, (2, 2)).save(record["file_name"])
    assert SegmentMapper(cfg, True)(record)["image"].shape == (3, 2, 2)


def test_bgr(tiny, cfg):
    tiny.add([[1]], [(1, 7)], image=np.array([[[10, 20, 30]]], np.uint8))
    cfg.INPUT.FORMAT = "BGR"
    assert SegmentMapper(cfg, False)(tiny.records()[0])["image"].flatten().tolist() == [30, 20, 10]


def _rotated_picture(tiny, upright_ids):
    """A picture stored lying on its side, whose EXIF tag says "turn me by 90 degrees"."""
    upright = np.stack([np.asarray(upright_ids, np.uint8)] * 3, axis=-1) * 100
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    stored = np.rot90(upright)  # orientation 6: viewers turn it clockwise
    tiny.add(upright_ids, [(1, 7), (2, 40)], image=stored, exif=exif, extension=".png")


def test_exif_rotation_puts_image_and_masks_into_one_frame(tiny, cfg):
    ids = np.array([[1, 1, 2], [2, 2, 2]])
    _rotated_picture(tiny, ids)
    sample = SegmentMapper(cfg, True)(tiny.records()[0])
    assert (sample["height"], sample["width"]) == (2, 3)
    np.testing.assert_array_equal(sample["image"][0].numpy(), ids * 100)
    np.testing.assert_array_equal(sample["instances"].gt_masks.tensor[0].numpy(), ids == 1)


def test_png_in_the_stored_frame_is_refused(tiny, cfg):
    ids = np.array([[1, 1, 2], [2, 2, 2]])
    _rotated_picture(tiny, ids)
    record = tiny.records()[0]
    write_panoptic_png(record["pan_seg_file_name"], np.rot90(ids))
    with pytest.raises(UserError, match=r"picture_1.png' is 2 x 3 .* 3 x 2 with its EXIF .*turn"):
        SegmentMapper(cfg, True)(record)


def test_sizes_that_disagree_are_told(tiny, cfg):
    tiny.add([[1, 1, 1], [1, 1, 1]], [(1, 7)], image=np.zeros((5, 4, 3), np.uint8))
    record = tiny.records()[0]
    for is_train in (True, False):
        with pytest.raises(UserError, match=r"picture_1.png' is 4 x 5 pixels .* says 3 x 2"):
            SegmentMapper(cfg, is_train)(record)
    del record["height"], record["width"]
    with pytest.raises(UserError, match=r"PNG '.*' is 3 x 2 .*picture_1.png' is 4 x 5"):
        SegmentMapper(cfg, True)(record)


def test_ids_that_disagree_are_told(tiny, cfg):
    tiny.add([[1, 2], [2, 0]], [(1, 7), (2, 40)])
    record = tiny.records()[0]
    mapper = SegmentMapper(cfg, True)
    surplus = {**record["segments_info"][0], "id": 70000}
    with pytest.raises(UserError, match=r"picture_1.png' has no pixel of segment 70000"):
        mapper({**record, "segments_info": record["segments_info"] + [surplus]})
    with pytest.raises(UserError, match=r"picture_1.png' has pixels of segment 2, which"):
        mapper({**record, "segments_info": record["segments_info"][:1]})


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "gone"])
def test_unreadable_images_are_named(tiny, cfg, damage):
    tiny.add(*_scene(), extension=".jpg")
    record = tiny.records()[0]
    path = tiny.images / "picture_1.jpg"
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[: len(whole) // 2], "text": b"no image"}.get(damage, b""))
    if damage == "gone":
        path.unlink()
    error = UserError
    reason = "does not exist" if damage == "gone" else "cannot be decoded"
    with pytest.raises(error, match=rf"Image '.*picture_1.jpg' {reason}"):
        SegmentMapper(cfg, False)(record)


def test_the_record_is_not_changed(tiny, cfg):
    tiny.add(*_scene())
    record = tiny.records()[0]
    before = repr(record)
    SegmentMapper(cfg, True)(record)
    assert repr(record) == before


def _digest(images: str, panoptic_json: str, panoptic_folder: str) -> str:
    """Everything that augmented samples of the data hold, under one seed."""
    register_panoptic("digest", images, panoptic_json, panoptic_folder)
    cfg = get_cfg()
    add_psformer_config(cfg)
    cfg.INPUT.CHANNEL_SHUFFLE = cfg.INPUT.COLOR_AUG_SSD = True
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MAX_SIZE_TRAIN = (90, 100, 110), 150
    cfg.INPUT.DETR_CROP.RESIZE, cfg.INPUT.DETR_CROP.SIZE = [70, 80, 90], [40, 75]
    cfg.INPUT.CROP.TYPE, cfg.INPUT.CROP.SIZE = "absolute", [50, 60]
    cfg.INPUT.CROP.SINGLE_CATEGORY_MAX_AREA = 0.6
    cfg.INPUT.LARGE_SCALE_JITTER.SIZE = 90
    digest = hashlib.sha256()
    np.random.seed(3)
    for recipe in ("DETR_CROP", "CROP", "LARGE_SCALE_JITTER"):
        cfg.INPUT[recipe].ENABLED = True
        mapper = SegmentMapper(cfg, True)
        cfg.INPUT[recipe].ENABLED = False
        for record in DatasetCatalog.get("digest") * 4:
            sample = mapper(record)
            fields = sample["instances"].get_fields()
            parts = [sample["image"], fields["gt_masks"].tensor, fields["gt_boxes"].tensor]
            for part in [*parts, fields["gt_classes"]]:
                digest.update(repr(part.shape).encode() + part.numpy().tobytes())
    return digest.hexdigest()


def test_both_backends_give_the_same_samples(tiny):
    pytest.importorskip("detectron2", reason="Detectron2 is not installed")
    for seed in range(2):
        tiny.add(*_scene(seed=seed), extension=".jpg")
    tiny.write()
    files = [str(tiny.images), str(tiny.json), str(tiny.panoptic)]
    other = "d2lite" if BACKEND == "detectron2" else "detectron2"
    run = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, *files],
        env={**os.environ, "D2_PSFORMER_BACKEND": other, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == f"{other} {_digest(*files)}"


if __name__ == "__main__":
    sys.stdout.write(f"{BACKEND} {_digest(*sys.argv[1:])}")
