"""The recipe of deeplab2: aligned corners, ten scales, padding anywhere."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from d2_psformer.d2.data import transforms as T
from d2_psformer.data import SegmentMapper, build_augmentation
from d2_psformer.data.deeplab2_augmentation import AlignedResizeTransform, FitSquare
from d2_psformer.utils.aligned_corners import nearest_places
from d2_psformer.utils.errors import UserError


@pytest.fixture
def recipe(cfg):
    cfg.INPUT.DEEPLAB2.ENABLED, cfg.INPUT.DEEPLAB2.SIZE = True, 65
    cfg.INPUT.RANDOM_FLIP = "horizontal"
    return cfg


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize(("old", "new"), [(5, 9), (9, 5), (1, 4), (4, 1), (7, 7), (640, 427)])
def test_nearest_places(old, new):
    """Halves are rounded up; else it is the rounded place in an interpolation of the places."""
    places = nearest_places(old, new)
    line = torch.arange(old, dtype=torch.float64)[None, None]
    exact = F.interpolate(line, new, mode="linear", align_corners=True)[0, 0].numpy()
    assert places.shape == (new,) and 0 == places[0] <= places[-1] == (old - 1) * (new > 1)
    assert (np.abs(places - exact) <= 0.5 + 1e-4).all()
    assert nearest_places(2, 3).tolist() == [0, 1, 1]


def test_resize_of_images_segmentations_and_corners():
    image = picture(5, 9)
    resize = AlignedResizeTransform(5, 9, 9, 17)
    large = resize.apply_image(image)
    maps = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    expected = F.interpolate(maps, (9, 17), mode="bilinear", align_corners=True)[0]
    assert large.dtype == np.float32
    np.testing.assert_allclose(large, expected.permute(1, 2, 0), rtol=1e-6)
    np.testing.assert_array_equal(resize.apply_segmentation(image)[::2, ::2], image)
    np.testing.assert_array_equal(resize.inverse().apply_image(large), image)
    corners = np.array([[0.5, 0.5], [8.5, 4.5], [4.5, 2.5]])
    assert resize.apply_coords(corners).tolist() == [[0.5, 0.5], [16.5, 8.5], [8.5, 4.5]]


@pytest.mark.parametrize("size", [(480, 640), (427, 640), (3, 2), (1, 1), (1, 3000), (3000, 1)])
def test_the_long_side_fits(size):
    """The second rounding can take one more pixel."""
    resize = FitSquare(641).get_transform(np.zeros((*size, 3), np.uint8))
    assert max(resize.new_h, resize.new_w) in (640, 641)
    short = 641 * min(size) / max(size)
    assert max(1, short - 2) <= min(resize.new_h, resize.new_w) <= short + 1


def test_inference_pads_to_the_square(recipe):
    image = picture(20, 40)
    augmented = T.AugInput(image)
    T.AugmentationList(build_augmentation(recipe, False))(augmented)
    assert augmented.image.shape == (65, 65, 3)
    assert (augmented.image[33:] == 127.5).all()
    np.testing.assert_array_equal(augmented.image[0, [0, -1]], image[0, [0, -1]])


def test_training_samples(tiny, recipe):
    """Image and ground truth stay together; padding is grey, has no class, and is anywhere."""
    ids = np.repeat([[1, 2]], 30, 0).repeat(20, 1)
    tiny.add(ids, [(1, 7), (2, 40)], image=np.stack([ids * 100] * 3, -1).astype(np.uint8))
    mapper, record = SegmentMapper(recipe, True), tiny.records()[0]
    np.random.seed(0)
    widths, tops, flipped = set(), set(), set()
    for _ in range(60):
        sample = mapper(record)
        image, classes = sample["image"][0], sample["sem_seg"]
        assert image.shape == classes.shape == (65, 65) and "padding_mask" not in sample
        is_grey = image == 127.5
        assert torch.equal(is_grey & (classes == 255), classes == 255)
        assert (classes[image == 100] == 1).all() and (classes[image == 200] == 3).all()
        rows = (~is_grey).any(1).nonzero()
        widths.add(int((~is_grey).any(0).sum()))
        tops.add(int(rows[0]))
        row = image[rows[0, 0]]
        flipped.add(bool(row[row != 127.5][0] == 200))
    assert len(tops) > 10 and flipped == {True, False}
    scales = np.linspace(0.5, 1.5, 10, dtype=np.float32)
    assert widths == {min(int(np.float32(65) * scale), 65) for scale in scales}


@pytest.mark.parametrize("is_train", [True, False])
def test_an_image_of_one_pixel(recipe, is_train):
    augmented = T.AugInput(picture(1, 1))
    T.AugmentationList(build_augmentation(recipe, is_train))(augmented)
    assert augmented.image.shape == (65, 65, 3)


def test_colours_change_before_they_are_no_whole_numbers(recipe):
    recipe.INPUT.COLOR_AUG_SSD = True
    augmented = T.AugInput(picture(20, 40))
    augmentations = build_augmentation(recipe, True)
    T.AugmentationList(augmentations)(augmented)
    assert [type(x).__name__ for x in augmentations] == [
        *("RandomColorJitter", "FitSquare", "RandomAlignedScale", "PadAnywhere", "RandomCrop"),
        "RandomFlip",
    ]


@pytest.mark.parametrize(
    ("key", "value"), [("SIZE", 0), ("STEPS", 0), ("MIN_SCALE", -0.1), ("MAX_SCALE", 0.4)]
)
def test_wrong_values(recipe, key, value):
    recipe.INPUT.DEEPLAB2[key] = value
    with pytest.raises(UserError, match=f"INPUT.DEEPLAB2.{key} is {value}: "):
        build_augmentation(recipe, True)


def test_one_recipe_at_a_time(recipe):
    recipe.INPUT.DETR_CROP.ENABLED = True
    with pytest.raises(UserError, match=r"DEEPLAB2.ENABLED and INPUT.DETR_CROP.ENABLED exclude"):
        build_augmentation(recipe, True)
