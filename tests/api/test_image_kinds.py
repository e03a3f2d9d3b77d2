"""Images in memory, of every kind, become the same 8-bit colours as Pillow and torchvision give."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as F

from d2_psformer.api.images import to_rgb
from d2_psformer.utils.errors import UserError

COLOURS = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8)
IMAGE = Image.fromarray(COLOURS)
GREY = COLOURS[..., 0]
TENSOR = torch.from_numpy(COLOURS).permute(2, 0, 1)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"])
def test_modes_of_pillow(mode):
    image = IMAGE.convert(mode)
    np.testing.assert_array_equal(to_rgb(image), np.asarray(image.convert("RGB")))


def test_premultiplied_colours():
    np.testing.assert_array_equal(to_rgb(IMAGE.convert("RGBA").convert("RGBa")), COLOURS)


def test_grey_of_16_bits():
    wide = GREY.astype(np.uint16) * 257
    expected = np.stack([GREY] * 3, axis=-1)
    np.testing.assert_array_equal(to_rgb(Image.fromarray(wide)), expected)
    np.testing.assert_array_equal(to_rgb(wide), expected)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_measurements_are_refused(mode):
    with pytest.raises(UserError, match=r"^The image has .* black and white are not known"):
        to_rgb(Image.new(mode, (4, 4)))


@pytest.mark.parametrize(
    "array",
    [
        COLOURS,
        COLOURS[:, ::-1][:, ::-1],
        np.dstack([COLOURS, GREY]),
        COLOURS.transpose(2, 0, 1),
        TENSOR,
        TENSOR.permute(1, 2, 0),
        COLOURS.astype(np.uint16) * 256,
    ],
    ids=["HWC", "a view", "alpha", "CHW", "tensor CHW", "tensor HWC", "16 bits"],
)
def test_arrays_and_tensors(array):
    found = to_rgb(array)
    assert found.dtype == np.uint8 and found.flags.c_contiguous
    np.testing.assert_array_equal(found, COLOURS)


@pytest.mark.parametrize("grey", [GREY, GREY[..., None], GREY[None], torch.from_numpy(GREY)])
def test_grey_has_three_equal_channels(grey):
    np.testing.assert_array_equal(to_rgb(grey), np.stack([GREY] * 3, axis=-1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_floats_of_0_to_1(dtype):
    wide = F.to_dtype(TENSOR, torch.float32, scale=True).to(dtype).requires_grad_()
    rounding = {torch.bfloat16: 1}.get(dtype, 0)
    assert np.abs(to_rgb(wide).astype(int) - COLOURS).max() <= rounding


def test_where_both_ends_could_be_channels():
    square = np.arange(3 * 5 * 3, dtype=np.uint8).reshape(3, 5, 3)
    np.testing.assert_array_equal(to_rgb(square), square)
    tensor = to_rgb(torch.from_numpy(square))
    np.testing.assert_array_equal(tensor, square.transpose(1, 2, 0))


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (COLOURS.astype(float), r"float64 values from 0 to 25\d: give floats of 0 to 1"),
        (F.normalize(TENSOR / 255, [0.5] * 3, [0.5] * 3), r"float32 values from -.*normalises"),
        (np.full((4, 4), np.nan), "values from nan to nan"),
        (COLOURS.astype(np.int64), "values of int64: give uint8"),
        (COLOURS > 9, "values of bool: give uint8"),
        (np.zeros((5, 6, 2), np.uint8), r"shape \(5, 6, 2\)"),
        (np.zeros((0, 4, 3), np.uint8), r"shape \(0, 4, 3\)"),
        (np.zeros(4, np.uint8), r"shape \(4,\)"),
        (Image.new("RGB", (0, 3)), "is empty"),
        (None, "is a NoneType: give a path"),
        (b"bytes", "is a bytes: give a path"),
    ],
)
def test_others_are_refused_in_a_sentence(image, sentence):
    with pytest.raises(UserError, match=f"^Image 3 .*{sentence}"):
        to_rgb(image, "Image 3")
