"""Images are resized and padded as the package does it."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from d2_psformer.d2.data import transforms as T
from d2_psformer.data import augment
from d2_psformer.data.augmentation import PadToSize, ResizeShortestEdge
from d2_psformer.data.deeplab2_augmentation import GREY, FitSquare
from d2_psformer.deployment.interpolation import nearest, resize
from d2_psformer.deployment.preprocessing import prepare
from d2_psformer.modeling.meta_arch.preprocessing import ImageNormalizer
from d2_psformer.utils.aligned_corners import nearest_places

SIZES = [(50, 70), (70, 50), (200, 31), (31, 400), (1, 500), (64, 96), (97, 33)]


def picture(size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)


def settings(**others) -> dict:
    rule = {"short": 0, "long": 0, "aligned": False}
    return {"resize": rule, "multiple": 32, "more": 0, "canvas": None, **others}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("short", [0, 64])
def test_short_side(size, short):
    rule = {"short": short, "long": 160, "aligned": False}
    augmentations = [ResizeShortestEdge(short, 160, "choice")] if short else []
    expect(size, augmentations, settings(resize=rule))


@pytest.mark.parametrize("size", SIZES)
def test_square_of_deeplab2(size):
    rule = {"short": 0, "long": 65, "aligned": True}
    given = settings(resize=rule, multiple=16, more=1, canvas=[65, 65])
    expect(size, [FitSquare(65), PadToSize(65, GREY)], given)


def expect(size: tuple[int, int], augmentations: list, given: dict) -> None:
    image = picture(size)
    sample, _ = augment(T.AugmentationList(augmentations), T.AugInput(image.copy()))
    normalizer = ImageNormalizer([0.0] * 3, [1.0] * 3, given["multiple"], given["more"])
    batch = normalizer([sample["image"]], [sample.get("padding_mask")])
    canvas, found = prepare(image, given)
    assert found == batch.sizes[0] and canvas.shape == batch.tensor.shape[1:]
    height, width = found
    expected = batch.tensor[0, :, :height, :width].numpy()
    np.testing.assert_allclose(canvas[:, :height, :width], expected, atol=1e-3)


@pytest.mark.parametrize("size", SIZES)
def test_a_fixed_canvas_holds_the_whole_image(size):
    canvas, found = prepare(picture(size), settings(canvas=[64, 96]))
    assert canvas.shape == (3, 64, 96)
    assert found[0] <= 64 and found[1] <= 96 and (found[0] == 64 or found[1] == 96)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 5), np.uint8),
        np.zeros((4, 5, 3), np.float32),
        np.zeros((3, 4, 5), np.uint8),
        np.zeros((0, 5, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused(image):
    with pytest.raises(ValueError, match=r"pass uint8 \(H, W, 3\)"):
        prepare(image, settings())


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("new", [(7, 9), (40, 33), (160, 200), (1, 1)])
def test_resizes_are_those_of_torch(new, aligned):
    maps = torch.randn(2, 21, 30)
    expected = F.interpolate(maps[None], new, mode="bilinear", align_corners=aligned)[0]
    np.testing.assert_allclose(resize(maps.numpy(), new, aligned), expected, atol=1e-5)


@pytest.mark.parametrize("length", [1, 2, 9, 33, 34])
def test_nearest_places_are_those_of_the_package(length):
    maps = np.arange(17.0)[None]
    expected = maps[0, nearest_places(17, length)]
    assert (nearest(maps, (1, length))[0] == expected).all()
