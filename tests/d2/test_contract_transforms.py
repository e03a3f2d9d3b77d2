"""Augmentations, the same on both backends."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from d2_psformer.d2.data import transforms as T
from d2_psformer.utils.errors import UserError


@pytest.fixture
def image():
    return np.random.RandomState(0).randint(0, 256, (40, 60, 3), dtype=np.uint8)


def corners(box):
    x0, y0, x1, y1 = box
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], dtype=float)


@given(
    height=st.integers(16, 2000),
    width=st.integers(16, 2000),
    short=st.integers(100, 1000),
    longest=st.integers(200, 1500),
)
def test_shortest_edge(height, width, short, longest):
    new_h, new_w = T.ResizeShortestEdge.get_output_shape(height, width, short, longest)
    assert max(new_h, new_w) <= longest + 1
    assert min(new_h, new_w) <= short
    assert min(new_h, new_w) == short or abs(max(new_h, new_w) - longest) <= 1
    assert abs(new_h * width - new_w * height) <= max(height, width)  # Rounding only.


def test_shortest_edge_draws_from_its_range_or_list(image):
    np.random.seed(0)
    ranged = {
        T.ResizeShortestEdge([20, 23]).get_transform(image).apply_image(image).shape[0]
        for _ in range(60)
    }
    assert ranged == {20, 21, 22, 23}
    chosen = {
        T.ResizeShortestEdge([20, 30], 40, "choice")
        .get_transform(image)
        .apply_image(image)
        .shape[:2]
        for _ in range(60)
    }
    assert chosen == {(20, 30), (27, 40)}  # A short side of 30 would make a long one of 45.


def test_a_short_side_of_zero_leaves_the_size_alone(image):
    transform = T.ResizeShortestEdge([0, 0]).get_transform(image)
    assert_array_equal(transform.apply_image(image), image)


@pytest.mark.parametrize("arguments", [([1, 2, 3],), ([1, 2], 9, "sometimes")])
def test_shortest_edge_refuses_nonsense(arguments):
    with pytest.raises((AssertionError, UserError)):
        T.ResizeShortestEdge(*arguments)


@pytest.mark.parametrize("shape", [(40, 60), (40, 60, 1), (40, 60, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_resize_keeps_channels_and_type(shape, dtype):
    pixels = np.random.RandomState(0).randint(0, 256, shape).astype(dtype)
    resized = T.ResizeTransform(40, 60, 20, 33).apply_image(pixels)
    assert resized.shape == (20, 33, *shape[2:]) and resized.dtype == dtype


def test_resize_is_pillow_s(image):
    resized = T.ResizeTransform(40, 60, 13, 21, Image.BILINEAR).apply_image(image)
    assert_array_equal(resized, Image.fromarray(image).resize((21, 13), Image.BILINEAR))
    sharp = T.ResizeTransform(40, 60, 13, 21, Image.NEAREST).apply_image(image)
    assert_array_equal(sharp, Image.fromarray(image).resize((21, 13), Image.NEAREST))


def test_resize_makes_no_new_classes_and_moves_boxes(image):
    transform = T.ResizeTransform(40, 60, 20, 20)
    classes = np.random.RandomState(1).choice([3, 200], (40, 60)).astype(np.uint8)
    assert set(np.unique(transform.apply_segmentation(classes))) <= {3, 200}
    assert_allclose(transform.apply_box(np.array([[6.0, 4, 30, 20]])), [[2, 2, 10, 10]])
    back = transform.inverse()
    assert back.apply_image(transform.apply_image(image)).shape == image.shape


def test_resize_refuses_another_image(image):
    transform = T.ResizeTransform(40, 60, 20, 20)
    with pytest.raises(AssertionError):
        transform.apply_image(image[1:])


@pytest.mark.parametrize(("horizontal", "axis"), [(True, 1), (False, 0)])
def test_flip(image, horizontal, axis):
    flip = T.RandomFlip(1.0, horizontal=horizontal, vertical=not horizontal)
    transform = flip.get_transform(image)
    assert_array_equal(transform.apply_image(image), np.flip(image, axis))
    never = T.RandomFlip(0.0, horizontal=horizontal, vertical=not horizontal)
    assert_array_equal(never.get_transform(image).apply_image(image), image)


@pytest.mark.parametrize("both", [True, False])
def test_flip_goes_one_way(both):
    with pytest.raises(ValueError):
        T.RandomFlip(horizontal=both, vertical=both)


def test_flip_comes_in_its_share(image):
    np.random.seed(0)
    flip = T.RandomFlip(0.25)
    flips = sum(isinstance(flip.get_transform(image), T.HFlipTransform) for _ in range(2000))
    assert 400 < flips < 600


@pytest.mark.parametrize(
    ("crop_type", "size", "heights", "widths"),
    [
        ("absolute", (10, 20), (10, 10), (20, 20)),
        ("absolute", (100, 20), (40, 40), (20, 20)),
        ("absolute_range", (10, 50), (10, 40), (10, 50)),
        ("relative", (0.5, 0.25), (20, 20), (15, 15)),
        ("relative_range", (0.5, 0.25), (20, 40), (15, 60)),
    ],
)
def test_crop_sizes(image, crop_type, size, heights, widths):
    np.random.seed(0)
    crop = T.RandomCrop(crop_type, size)
    for _ in range(50):
        height, width = crop.get_transform(image).apply_image(image).shape[:2]
        assert heights[0] <= height <= heights[1] and widths[0] <= width <= widths[1]


def test_crop_moves_boxes_with_the_pixels(image):
    np.random.seed(0)
    image[10:30, 20:50] = 7
    for _ in range(20):
        transform = T.RandomCrop("absolute", (35, 45)).get_transform(image)
        x0, y0, x1, y1 = transform.apply_box(np.array([[20, 10, 50, 30]]))[0].astype(int)
        inside = transform.apply_image(image)[max(y0, 0) : y1, max(x0, 0) : x1]
        assert inside.size and (inside == 7).all()


def test_crop_refuses_an_unknown_type():
    with pytest.raises((AssertionError, UserError)):
        T.RandomCrop("generous", (1, 1))


@given(seed=st.integers(0, 99), largest=st.floats(0.3, 1.0), ignored=st.sampled_from([None, 0, 9]))
def test_crop_that_one_class_does_not_fill(seed, largest, ignored):
    classes = np.random.RandomState(seed).choice([0, 1, 9], (6, 8), p=[0.6, 0.3, 0.1])
    image = np.zeros((6, 8, 3), dtype=np.uint8)
    augmentation = T.RandomCrop_CategoryAreaConstraint("absolute", (3, 4), largest, ignored)
    np.random.seed(seed)
    crop = augmentation.get_transform(image, classes)

    np.random.seed(seed)
    for _ in range(1 if largest == 1 else 10):
        y, x = np.random.randint(4), np.random.randint(5)
        inside = [c for c in classes[y : y + 3, x : x + 4].ravel().tolist() if c != ignored]
        counts = [inside.count(c) for c in {*inside}]
        if len(counts) > 1 and max(counts) / len(inside) < largest:
            break
    assert (crop.x0, crop.y0, crop.w, crop.h) == (x, y, 4, 3)


def test_fixed_size_crop_pads_and_crops(image):
    pad = T.FixedSizeCrop((50, 30), pad_value=9, seg_pad_value=255)
    transform = pad.get_transform(image)
    padded = transform.apply_image(image)
    assert padded.shape == (50, 30, 3) and (padded[40:] == 9).all()
    segmentation = transform.apply_segmentation(np.zeros((40, 60), dtype=np.uint8))
    assert (segmentation[40:] == 255).all() and (segmentation[:40] == 0).all()
    unpadded = T.FixedSizeCrop((50, 30), pad=False).get_transform(image).apply_image(image)
    assert unpadded.shape == (40, 30, 3)


def test_scale_fits_into_the_target(image):
    np.random.seed(0)
    for _ in range(20):
        resized = T.ResizeScale(0.5, 2.0, 80, 80).get_transform(image).apply_image(image)
        assert 40 <= resized.shape[1] <= 160
        assert abs(resized.shape[0] * 60 - resized.shape[1] * 40) <= 60


def test_random_apply(image):
    always, never = (T.RandomApply(T.RandomFlip(1.0), prob=p) for p in (1.0, 0.0))
    assert isinstance(always.get_transform(image), T.HFlipTransform)
    assert isinstance(never.get_transform(image), T.NoOpTransform)
    flipped = T.AugInput(image)
    always(flipped)
    assert_array_equal(flipped.image, image[:, ::-1])
    with pytest.raises(AssertionError):
        T.RandomApply(T.NoOpTransform(), prob=1.1)


def test_a_list_goes_step_by_step(image):
    class OnSmallImages(T.Augmentation):
        def get_transform(self, image):
            assert image.shape == (20, 20, 3)
            return T.NoOpTransform()

    augmentations = [T.ResizeTransform(40, 60, 20, 20), OnSmallImages(), T.HFlipTransform(20)]
    inputs = T.AugInput(
        image, boxes=np.array([[0.0, 0, 30, 20]]), sem_seg=np.zeros((40, 60), dtype=np.uint8)
    )
    transforms = T.AugmentationList([T.AugmentationList(augmentations[:2]), augmentations[2]])(
        inputs
    )
    assert isinstance(transforms, T.TransformList)
    assert inputs.image.shape == (20, 20, 3) and inputs.sem_seg.shape == (20, 20)
    assert_allclose(inputs.boxes, [[10, 0, 20, 10]])
    # The transforms can be used on what comes along.
    assert_array_equal(transforms.apply_image(image), inputs.image)
    polygon = transforms.apply_polygons([corners([0, 0, 30, 20])])[0]
    assert_allclose(sorted(map(tuple, polygon)), sorted(map(tuple, corners([10, 0, 20, 10]))))


def test_augmentations_get_what_they_name(image):
    class CropAwayClass(T.Augmentation):
        def get_transform(self, image, sem_seg):
            assert image.shape[:2] == sem_seg.shape
            return T.CropTransform(int(np.flatnonzero(sem_seg.any(0))[-1]) + 1, 0, 5, 40)

    class NeedsTheWeather(T.Augmentation):
        def get_transform(self, image, weather):
            return T.NoOpTransform()

    classes = np.zeros((40, 60), dtype=np.uint8)
    classes[:, :10] = 1
    inputs = T.AugInput(image, sem_seg=classes)
    CropAwayClass()(inputs)
    assert_array_equal(inputs.image, image[:, 10:15])
    with pytest.raises(AttributeError, match="weather"):
        NeedsTheWeather()(inputs)


def test_an_augmentation_gives_a_transform(image):
    class Wrong(T.Augmentation):
        def get_transform(self, image):
            return image

    with pytest.raises(AssertionError, match="Wrong"):
        Wrong()(T.AugInput(image))


@pytest.mark.parametrize("bad", [[[1, 2]], np.zeros(3, dtype=np.uint8)])
def test_an_input_is_an_image(bad):
    with pytest.raises((AssertionError, AttributeError)):
        T.AugInput(bad)


def test_they_say_what_they_are():
    flip = T.RandomFlip(prob=0.3)
    assert str(flip) == "RandomFlip(prob=0.3)"
    assert str(T.RandomFlip()) == "RandomFlip()"
    assert str(T.RandomCrop("relative", (1, 1))) == (
        "RandomCrop(crop_type='relative', crop_size=(1, 1))"
    )
    assert str(T.AugmentationList([flip])) == "AugmentationList[RandomFlip(prob=0.3)]"
