import numpy as np
import pytest
from PIL import Image

from d2_psformer.d2.data import transforms as T
from d2_psformer.data import build_augmentation
from d2_psformer.data.augmentation import (
    ChannelShuffleTransform,
    PadToSize,
    RandomChannelShuffle,
)
from d2_psformer.utils.errors import UserError


def _augmented_sizes(cfg, image_size, count=200):
    np.random.seed(0)
    augmentation = T.AugmentationList(build_augmentation(cfg, True))
    sizes = []
    for _ in range(count):
        augmented = T.AugInput(np.zeros((*image_size, 3), np.uint8))
        augmentation(augmented)
        sizes.append(augmented.image.shape[:2])
    return sizes


def test_size_0_leaves_images_alone(cfg):
    assert build_augmentation(cfg, True) == []
    assert build_augmentation(cfg, False) == []
    cfg.INPUT.MIN_SIZE_TRAIN = [0, 0]
    cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING = "range"
    assert build_augmentation(cfg, True) == []


def test_inference_only_resizes(cfg):
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = 80, 100
    cfg.INPUT.CHANNEL_SHUFFLE = cfg.INPUT.DETR_CROP.ENABLED = True
    cfg.INPUT.RANDOM_FLIP = "horizontal"
    (resize,) = build_augmentation(cfg, False)
    assert resize.get_transform(np.zeros((40, 45, 3), np.uint8)).new_h == 80
    assert resize.get_transform(np.zeros((40, 80, 3), np.uint8)).new_w == 100


def test_detr_crop_in_half_of_the_samples(cfg):
    cfg.INPUT.DETR_CROP.ENABLED = True
    sizes = _augmented_sizes(cfg, (480, 640))
    untouched = [size for size in sizes if size == (480, 640)]
    cropped = [size for size in sizes if size != (480, 640)]
    assert 70 < len(untouched) < 130
    assert all(384 <= side <= 600 for size in cropped for side in size)
    assert min(min(size) for size in cropped) < 420
    assert max(max(size) for size in cropped) > 570


def test_resize_follows_the_crop(cfg):
    cfg.INPUT.DETR_CROP.ENABLED = True
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MAX_SIZE_TRAIN = (480, 512, 800), 1333
    sizes = _augmented_sizes(cfg, (480, 640), 60)
    shapes = {round(max(size) / min(size), 2) for size in sizes}
    assert {min(size) for size in sizes} <= {480, 512, 800}
    assert len(shapes) > 10  # crops of many shapes, not only 4:3


def test_small_images_are_cropped_to_what_they_have(cfg):
    cfg.INPUT.DETR_CROP.ENABLED = True
    cfg.INPUT.DETR_CROP.RESIZE = [50]
    sizes = _augmented_sizes(cfg, (40, 60), 40)
    assert set(sizes) == {(40, 60), (50, 75)}


def test_detectron2s_own_crop_works(cfg):
    cfg.INPUT.CROP.ENABLED = True
    cfg.INPUT.CROP.TYPE, cfg.INPUT.CROP.SIZE = "absolute", [20, 30]
    assert set(_augmented_sizes(cfg, (40, 60), 5)) == {(20, 30)}


@pytest.mark.parametrize(
    ("kind", "size", "message"),
    [
        ("absolute", [0, 30], r"SIZE is \[0, 30\]: with TYPE absolute a side is at least 1 pixel"),
        ("absolute", [-20, 30], r"INPUT.CROP.SIZE is \[-20, 30\]: "),
        ("absolute_range", [0.9, 0.9], r"INPUT.CROP.SIZE is \[0.9, 0.9\]: "),
        ("relative", [0.0, 0.5], "INPUT.CROP.SIZE is .*: with TYPE relative a side is a share"),
        ("relative_range", [0.5, 1.5], "INPUT.CROP.SIZE is "),
        ("square", [20, 20], "INPUT.CROP.TYPE is 'square': use one of "),
    ],
)
def test_a_crop_without_a_size(cfg, kind, size, message):
    cfg.INPUT.CROP.ENABLED = True
    cfg.INPUT.CROP.TYPE, cfg.INPUT.CROP.SIZE = kind, size
    with pytest.raises(UserError, match=message):
        build_augmentation(cfg, is_train=True)


def _names(cfg):
    return [type(augmentation).__name__ for augmentation in build_augmentation(cfg, True)]


def test_order_of_each_recipe(cfg):
    """As in the official mappers: the flip is first on COCO and last on ADE20K and Cityscapes."""
    cfg.INPUT.RANDOM_FLIP, cfg.INPUT.COLOR_AUG_SSD = "horizontal", True
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.SIZE_DIVISIBILITY = (20,), 512
    resize, color, pad = "ResizeShortestEdge", "RandomColorJitter", "PadToSize"
    assert _names(cfg) == ["RandomFlip", resize, color, pad]
    cfg.INPUT.CROP.ENABLED = True
    assert _names(cfg) == ["RandomFlip", "RandomCrop", resize, color, pad]  # Detectron2's own
    cfg.INPUT.CROP.TYPE, cfg.INPUT.CROP.SIZE = "absolute", [10, 10]
    assert _names(cfg) == [resize, "RandomCrop", color, "RandomFlip", pad]
    cfg.INPUT.CROP.SINGLE_CATEGORY_MAX_AREA = 0.75
    crop = build_augmentation(cfg, True)[1]
    assert isinstance(crop, T.RandomCrop_CategoryAreaConstraint)
    assert (crop.single_category_max_area, crop.ignored_category) == (0.75, 255)
    cfg.INPUT.LARGE_SCALE_JITTER.ENABLED = True
    with pytest.raises(UserError, match=r"LARGE_SCALE_JITTER.ENABLED and INPUT.CROP.ENABLED excl"):
        build_augmentation(cfg, True)
    cfg.INPUT.CROP.ENABLED = False
    assert _names(cfg) == ["RandomFlip", "ResizeScale", "FixedSizeCrop", color, pad]


@pytest.mark.parametrize(("seed", "padding"), [*((i, None) for i in range(11)), (11, 0)])
def test_large_scale_jitter_is_the_formula(cfg, seed, padding):
    cfg.INPUT.LARGE_SCALE_JITTER.ENABLED, cfg.INPUT.LARGE_SCALE_JITTER.SIZE = True, 60
    cfg.MODEL.PADDING_VALUE = padding
    image = np.random.default_rng(seed).integers(0, 256, (40, 70, 3)).astype(np.uint8)
    np.random.seed(seed)
    augmented = T.AugInput(image, sem_seg=np.zeros((40, 70), np.uint8))
    T.AugmentationList(build_augmentation(cfg, True))(augmented)

    np.random.seed(seed)
    scale = min(60 / 40, 60 / 70) * np.random.uniform(0.1, 2.0)
    height, width = round(40 * scale), round(70 * scale)
    resized = np.asarray(Image.fromarray(image).resize((width, height), Image.BILINEAR))
    offset = np.random.uniform()
    y, x = round(offset * max(0, height - 60)), round(offset * max(0, width - 60))
    expected = np.full((60, 60, 3), 128 if padding is None else padding, np.uint8)
    expected[: min(height, 60), : min(width, 60)] = resized[y : y + 60, x : x + 60]
    np.testing.assert_array_equal(augmented.image, expected)
    padding = np.full((60, 60), 255)
    padding[:height, :width] = 0
    np.testing.assert_array_equal(augmented.sem_seg, padding)


@pytest.mark.parametrize(("key", "value"), [("SIZE", 0), ("MIN_SCALE", -0.1), ("MAX_SCALE", 0.05)])
def test_large_scale_jitter_without_a_pixel_or_a_scale(cfg, key, value):
    cfg.INPUT.LARGE_SCALE_JITTER.ENABLED, cfg.INPUT.LARGE_SCALE_JITTER[key] = True, value
    with pytest.raises(UserError, match=f"INPUT.LARGE_SCALE_JITTER.{key} is {value}: "):
        build_augmentation(cfg, is_train=True)


def test_large_scale_jitter_of_a_line(cfg):
    cfg.INPUT.LARGE_SCALE_JITTER.ENABLED, cfg.INPUT.LARGE_SCALE_JITTER.SIZE = True, 32
    assert set(_augmented_sizes(cfg, (1, 5000), 5)) == {(32, 32)}


def test_padding_to_one_size(cfg):
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.SIZE_DIVISIBILITY, cfg.MODEL.PADDING_VALUE = (0,), 6, 0
    assert build_augmentation(cfg, True)[-1].value == 0
    pad = PadToSize(6).get_transform(np.zeros((4, 5, 3)))
    image, classes = pad.apply_image(np.ones((4, 5, 3))), pad.apply_segmentation(np.ones((4, 5)))
    assert image.shape == (6, 6, 3) and classes.shape == (6, 6)
    assert (image[:4, :5] == 1).all() and image.sum() == 60 + 128 * 3 * 16
    assert (classes[:4, :5] == 1).all() and classes.sum() == 20 + 255 * 16
    with pytest.raises(UserError, match=r"is 7 x 4 pixels, but INPUT.SIZE_DIVISIBILITY pads to 6"):
        PadToSize(6).get_transform(np.zeros((4, 7, 3)))


@pytest.mark.parametrize(("flip", "axis"), [("horizontal", 1), ("vertical", 0)])
def test_flip(cfg, flip, axis):
    cfg.INPUT.RANDOM_FLIP = flip
    image = np.random.default_rng(0).integers(0, 256, (3, 4, 3)).astype(np.uint8)
    seen = set()
    np.random.seed(0)
    for _ in range(20):
        augmented = T.AugInput(image)
        T.AugmentationList(build_augmentation(cfg, True))(augmented)
        flipped = np.array_equal(augmented.image, np.flip(image, axis))
        assert flipped or np.array_equal(augmented.image, image)
        seen.add(flipped)
    assert seen == {True, False}


def test_channel_shuffle_changes_colours_only(cfg):
    cfg.INPUT.CHANNEL_SHUFFLE = True
    (shuffle,) = build_augmentation(cfg, True)
    assert isinstance(shuffle, RandomChannelShuffle)
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    np.random.seed(0)
    orders = set()
    for _ in range(60):
        transform = shuffle.get_transform(image)
        orders.add(tuple(transform.order))
        np.testing.assert_array_equal(
            transform.inverse().apply_image(transform.apply_image(image)), image
        )
    assert len(orders) == 6
    transform = ChannelShuffleTransform(np.array([2, 0, 1]))
    assert transform.apply_image(image)[0, 0].tolist() == [2, 0, 1]
    np.testing.assert_array_equal(transform.apply_segmentation(image), image)
    assert transform.apply_box(np.array([[1.0, 2, 3, 4]])).tolist() == [[1, 2, 3, 4]]


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (1, 1), (3, 4000)])
@pytest.mark.parametrize("is_train", [True, False])
def test_a_side_keeps_at_least_one_pixel(cfg, size, is_train):
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MIN_SIZE_TEST = (800,), 800
    cfg.INPUT.MAX_SIZE_TRAIN = cfg.INPUT.MAX_SIZE_TEST = 1333
    cfg.INPUT.DETR_CROP.ENABLED = True
    cfg.INPUT.RANDOM_FLIP = "horizontal"
    augmentation = T.AugmentationList(build_augmentation(cfg, is_train))
    augmented = T.AugInput(np.zeros((*size, 3), np.uint8))
    transforms = augmentation(augmented)
    height, width = augmented.image.shape[:2]
    assert 1 <= min(height, width) <= max(height, width) <= 1333
    assert transforms.apply_segmentation(np.zeros(size, np.uint8)).shape == (height, width)


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1)])
def test_the_crop_of_a_long_image_makes_no_huge_one(cfg, size):
    cfg.INPUT.DETR_CROP.ENABLED = True
    crop = next(a for a in build_augmentation(cfg, True) if isinstance(a, T.RandomApply))
    resize = crop.aug.augs[0].get_transform(np.zeros((*size, 3), np.uint8))
    assert resize.new_h * resize.new_w <= 20 * 600 * 600
