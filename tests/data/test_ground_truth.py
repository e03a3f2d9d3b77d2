"""Semantic and instance ground truth, and what all kinds share (panoptic: test_segment_mapper)."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as mask_util

from d2_psformer.d2 import BACKEND, from_backend
from d2_psformer.d2.data import transforms as T
from d2_psformer.data import SegmentMapper
from d2_psformer.data.registration import register_records
from d2_psformer.utils.errors import UserError

HEIGHT, WIDTH = 30, 40
TRIANGLE = [3.0, 2.5, 25.25, 4.0, 12.0, 27.75]
XYWH_ABS = 1  # Detectron2's BoxMode


def _rle(y0, y1, x0, x1):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    mask[y0:y1, x0:x1] = 1
    return mask_util.encode(mask)


def _object(segmentation, category_id=0, **others):
    box = {"bbox": [0, 0, WIDTH, HEIGHT], "bbox_mode": XYWH_ABS}
    return {"segmentation": segmentation, "category_id": category_id, "iscrowd": 0, **box, **others}


@pytest.fixture
def record(tmp_path):
    """A record without ground truth; the image's red is its class map, 255 being ignored."""
    rng = np.random.default_rng(0)
    classes = np.kron(rng.choice([0, 3, 7, 255], (6, 8)), np.ones((5, 5))).astype(np.uint8)
    path = tmp_path / "image.png"
    Image.fromarray(np.stack([classes] * 3, axis=-1)).save(path)
    return {"file_name": str(path), "height": HEIGHT, "width": WIDTH, "image_id": 1}


@pytest.fixture
def semantic(record, tmp_path):
    path = tmp_path / "classes.png"
    Image.fromarray(np.asarray(Image.open(record["file_name"]))[..., 0]).save(path)
    return {**record, "sem_seg_file_name": str(path)}


def _instances(record, cfg):
    return SegmentMapper(cfg, True)(record)["instances"]


def _mapper(*augmentations, **options):
    return SegmentMapper(True, augmentations=augmentations, image_format="RGB", **options)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_semantic_map(semantic, cfg, dtype):
    classes = np.asarray(Image.open(semantic["sem_seg_file_name"]))
    Image.fromarray(classes.astype(dtype)).save(semantic["sem_seg_file_name"])
    sample = SegmentMapper(cfg, True)(semantic)
    assert sample["sem_seg"].dtype == torch.int64
    np.testing.assert_array_equal(sample["sem_seg"], classes)
    instances = sample["instances"]
    assert instances.gt_classes.tolist() == [0, 3, 7]
    for number, mask, box in zip([0, 3, 7], instances.gt_masks, instances.gt_boxes, strict=True):
        np.testing.assert_array_equal(mask, classes == number)
        y, x = np.nonzero(classes == number)
        assert box.tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]


def test_a_palette_is_a_semantic_map(semantic, cfg):
    classes = Image.open(semantic["sem_seg_file_name"])
    classes.putpalette(list(range(256)) * 3)
    assert classes.mode == "P"
    classes.save(semantic["sem_seg_file_name"])
    assert _instances(semantic, cfg).gt_classes.tolist() == [0, 3, 7]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1000))
def test_image_masks_and_padding_move_together(semantic, seed):
    """The image is the class map, so exact (nearest) transforms keep the two equal."""
    fit = T.ResizeScale(0.3, 2.0, 36, 36, interp=Image.Resampling.NEAREST)
    mapper = _mapper(T.RandomFlip(), fit, T.FixedSizeCrop((36, 36), pad_value=255))
    np.random.seed(seed)
    sample = mapper(semantic)
    np.testing.assert_array_equal(sample["sem_seg"], sample["image"][0])
    inside = torch.zeros(36, 36, dtype=torch.bool)
    for number, mask in zip(
        sample["instances"].gt_classes, sample["instances"].gt_masks, strict=True
    ):
        assert torch.equal(mask, sample["sem_seg"] == number)
        inside |= mask
    padding = sample.get("padding_mask", torch.zeros(36, 36, dtype=torch.bool))
    assert not (inside & padding).any()
    rows, columns = (~padding).any(1).sum(), (~padding).any(0).sum()
    assert not padding[:rows, :columns].any() and padding.sum() == 36 * 36 - rows * columns


def test_classes_that_the_crop_removed_are_gone(semantic):
    for keep_empty in (False, True):
        sample = _mapper(T.CropTransform(0, 0, 5, 5), keep_empty=keep_empty)(semantic)
        (number,) = sample["sem_seg"].unique().tolist()
        assert sample["instances"].gt_classes.tolist() == ([number] if number != 255 else [])


def test_objects_may_overlap(record, cfg):
    square = [5.0, 5.0, 15.0, 5.0, 15.0, 15.0, 5.0, 15.0]
    crowd = _object(_rle(0, 9, 0, 9), 4, iscrowd=1)
    objects = [_object([TRIANGLE, square], 2), crowd, _object(_rle(4, 20, 6, 30), 1)]
    instances = _instances({**record, "annotations": objects}, cfg)
    assert instances.gt_classes.tolist() == [2, 1]
    both = mask_util.merge(mask_util.frPyObjects([TRIANGLE, square], HEIGHT, WIDTH))
    np.testing.assert_array_equal(instances.gt_masks.tensor[0], mask_util.decode(both))
    np.testing.assert_array_equal(
        instances.gt_masks.tensor[1], mask_util.decode(objects[2]["segmentation"])
    )
    assert instances.gt_masks.tensor.all(0).any()
    assert instances.gt_boxes.tensor[1].tolist() == [6, 4, 30, 20]


@pytest.mark.skipif(BACKEND != "detectron2", reason="Detectron2 is not installed")
@pytest.mark.parametrize("seed", range(8))
def test_objects_equal_those_of_detectron2s_mapper(record, seed):
    corners = np.random.default_rng(seed).uniform(0, [WIDTH, HEIGHT], (3, 5, 2))
    outlines = [[polygon.ravel().tolist()] for polygon in corners] + [_rle(4, 20, 6, 30)]
    record["annotations"] = [_object(outline, k) for k, outline in enumerate(outlines)]
    augmentations = [T.RandomFlip(), T.ResizeScale(0.5, 3.0, 50, 50), T.PadTransform(0, 0, 3, 2)]
    samples = []
    for mapper in (
        _mapper(*augmentations[:2]),
        from_backend("data")("DatasetMapper")(
            True,
            augmentations=augmentations[:2],
            image_format="RGB",
            use_instance_mask=True,
            instance_mask_format="bitmask",
            recompute_boxes=True,
        ),
    ):
        np.random.seed(seed)
        samples.append(mapper(copy.deepcopy(record)))
    ours, theirs = (sample["instances"].get_fields() for sample in samples)
    assert torch.equal(samples[0]["image"], samples[1]["image"])
    assert torch.equal(ours["gt_masks"].tensor, theirs["gt_masks"].tensor)
    assert torch.equal(ours["gt_boxes"].tensor, theirs["gt_boxes"].tensor)
    assert torch.equal(ours["gt_classes"], theirs["gt_classes"])


@pytest.mark.parametrize("outline", [[TRIANGLE], _rle(4, 28, 3, 30)], ids=["polygon", "rle"])
def test_crop_and_padding_of_objects(record, outline):
    record["annotations"] = [_object(outline)]
    whole = _mapper()(record)["instances"].gt_masks.tensor[0].numpy()
    crop = T.CropTransform(7, 3, 20, 25)
    pad = T.PadTransform(0, 0, 10, 5, 20, 25, seg_pad_value=255)
    sample = _mapper(crop, pad)(record)
    expected = np.pad(whole[3:28, 7:27], ((0, 5), (0, 10)))
    assert sample["instances"].image_size == (30, 30)
    np.testing.assert_array_equal(sample["instances"].gt_masks.tensor[0], expected)
    np.testing.assert_array_equal(
        sample["padding_mask"], np.pad(np.zeros((25, 20)), ((0, 5), (0, 10)), constant_values=1)
    )


def test_objects_outside_of_the_crop(record):
    record["annotations"] = [_object(_rle(0, 4, 0, 4), 2), _object([TRIANGLE], 1)]
    crop = T.CropTransform(8, 0, 20, 20)
    assert _mapper(crop)(record)["instances"].gt_classes.tolist() == [1]
    kept = _mapper(crop, keep_empty=True)(record)["instances"]
    assert kept.gt_classes.tolist() == [2, 1]
    assert not kept.gt_masks.tensor[0].any() and kept.gt_boxes.tensor[0].tolist() == [0, 0, 0, 0]


def test_emptied_panoptic_segments_stay_if_asked_for(tiny, cfg):
    tiny.add([[1, 1, 2, 2]], [(1, 7), (2, 40)])
    cfg.INPUT.CROP.ENABLED, cfg.INPUT.CROP.TYPE, cfg.INPUT.CROP.SIZE = True, "absolute", [1, 2]
    cfg.INPUT.KEEP_EMPTY_SEGMENTS = True
    mapper = SegmentMapper(cfg, True)
    areas = set()
    for seed in range(20):
        np.random.seed(seed)
        areas.add(
            tuple(mapper(tiny.records()[0])["instances"].gt_masks.tensor.sum((1, 2)).tolist())
        )
    assert areas == {(2, 0), (1, 1), (0, 2)}


@pytest.mark.parametrize("objects", [[], [_object(_rle(0, 9, 0, 9), iscrowd=1)]])
def test_an_image_without_objects_has_empty_instances(record, cfg, objects):
    cfg.INPUT.LARGE_SCALE_JITTER.ENABLED, cfg.INPUT.LARGE_SCALE_JITTER.SIZE = True, 64
    instances = _instances({**record, "annotations": objects}, cfg)
    assert instances.gt_masks.tensor.shape == (0, 64, 64)
    assert instances.gt_boxes.tensor.shape == (0, 4)
    assert instances.gt_classes.dtype == torch.int64 and len(instances) == 0


def test_an_image_that_is_all_ignored(semantic, cfg):
    Image.new("L", (WIDTH, HEIGHT), 255).save(semantic["sem_seg_file_name"])
    assert len(_instances(semantic, cfg)) == 0


def test_no_padding_no_mask_of_it(semantic, cfg):
    assert "padding_mask" not in SegmentMapper(cfg, True)(semantic)
    cfg.INPUT.SIZE_DIVISIBILITY = 48
    padding = SegmentMapper(cfg, True)(semantic)["padding_mask"]
    assert padding.dtype == torch.bool and padding.sum() == 48 * 48 - HEIGHT * WIDTH
    assert not padding[:HEIGHT, :WIDTH].any()
    assert "padding_mask" not in SegmentMapper(cfg, False)(semantic)


@pytest.mark.parametrize("kind", ["panoptic", "semantic", "instance"])
def test_crop_that_one_class_does_not_fill(tiny, semantic, record, cfg, kind):
    """Of ten crops one would surely have both classes; objects have no class map to go by."""
    ids = np.ones((HEIGHT, WIDTH), int)
    ids[:, 20:] = 2
    tiny.add(ids, [(1, 7), (2, 40)])
    Image.fromarray(ids.astype(np.uint8)).save(semantic["sem_seg_file_name"])
    annotations = [_object(_rle(0, HEIGHT, 0, 20)), _object(_rle(0, HEIGHT, 20, WIDTH))]
    records = {
        "panoptic": tiny.records()[0],
        "semantic": semantic,
        "instance": {**record, "annotations": annotations},
    }
    cfg.INPUT.CROP.ENABLED, cfg.INPUT.CROP.TYPE, cfg.INPUT.CROP.SIZE = True, "absolute", [15, 20]
    cfg.INPUT.CROP.SINGLE_CATEGORY_MAX_AREA = 0.9
    cfg.INPUT.MIN_SIZE_TRAIN = (HEIGHT,)
    mapper, counts = SegmentMapper(cfg, True), set()
    for seed in range(30):
        np.random.seed(seed)
        counts.add(len(mapper(records[kind])["instances"]))
    assert counts == ({1, 2} if kind == "instance" else {2})


def test_a_seed_decides_everything(semantic, cfg):
    cfg.INPUT.LARGE_SCALE_JITTER.ENABLED, cfg.INPUT.LARGE_SCALE_JITTER.SIZE = True, 50
    cfg.INPUT.COLOR_AUG_SSD, cfg.INPUT.RANDOM_FLIP = True, "horizontal"
    mapper, results = SegmentMapper(cfg, True), []
    for seed in (1, 1, 2):
        np.random.seed(seed)
        results.append(mapper(semantic))
    for key in ("image", "sem_seg"):
        assert torch.equal(results[0][key], results[1][key])
        assert not torch.equal(results[0][key], results[2][key])


def test_classes_that_the_model_lacks_are_named(semantic, record, cfg):
    metadata = {
        "thing_dataset_id_to_contiguous_id": {1: 0, 2: 1},
        "stuff_dataset_id_to_contiguous_id": {3: 2},
    }
    cfg.DATASETS.TRAIN = (register_records("of three classes", [], **metadata),)
    mapper = SegmentMapper(cfg, True)
    with pytest.raises(UserError, match=r"classes.png' has class 3, but .* classes 0...2: number"):
        mapper(semantic)
    with pytest.raises(UserError, match=r"image.png' has class 5, but"):
        mapper({**record, "annotations": [_object([TRIANGLE], 5)]})


@pytest.mark.parametrize(
    ("save", "reason"),
    [
        (lambda path: path.unlink(), "does not exist"),
        (lambda path: path.write_bytes(b"no image"), "cannot be decoded"),
        (lambda path: Image.new("RGB", (WIDTH, HEIGHT)).save(path), "has mode RGB, not one"),
        (lambda path: Image.new("I;16", (WIDTH, HEIGHT), 256).save(path), "has class 256: number"),
        (lambda path: Image.new("L", (9, 7)).save(path), "is 9 x 7 pixels, but image '.*' is 40"),
        (lambda path: Image.new("L", (HEIGHT, WIDTH)).save(path), ".* EXIF rotation applied: turn"),
    ],
)
def test_semantic_maps_that_cannot_be_used(semantic, cfg, tmp_path, save, reason):
    save(tmp_path / "classes.png")
    with pytest.raises(UserError, match=rf"Semantic PNG '.*classes.png' {reason}"):
        SegmentMapper(cfg, True)(semantic)


@pytest.mark.parametrize(
    "outline",
    [
        *(None, [], [[1.0, 2, 3, 4]], [[1.0] * 7]),
        *({"size": [HEIGHT, WIDTH], "counts": [1, 2]}, {"size": [3, 4], "counts": b"04"}),
    ],
)
def test_objects_that_cannot_be_drawn(record, cfg, outline):
    record["annotations"] = [_object([TRIANGLE]), _object(outline)]
    with pytest.raises(UserError, match=r"segmentation of object 1 of '.*image.png' is neither"):
        SegmentMapper(cfg, True)(record)
