"""Normalising and padding."""

import pytest
import torch
from small_models import image

from d2_psformer.modeling.meta_arch.preprocessing import ImageNormalizer

MEAN, STD = [10.0, 20.0, 30.0], [2.0, 4.0, 5.0]


def test_values_are_normalised_and_padding_is_zero():
    images = [image(20, 33), image(27, 30)]
    batch = ImageNormalizer(MEAN, STD, 0)(images)
    assert batch.tensor.shape == (2, 3, 27, 33)
    assert batch.sizes == [(20, 33), (27, 30)]
    for pixels, mask, source in zip(batch.tensor, batch.padding, images, strict=True):
        _, height, width = source.shape
        expected = (source - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
        torch.testing.assert_close(pixels[:, :height, :width], expected)
        assert not mask[:height, :width].any()
        assert mask.sum() == 27 * 33 - height * width
        assert not pixels[:, mask].any()


@pytest.mark.parametrize(("divisibility", "canvas"), [(0, (20, 33)), (32, (32, 64))])
def test_canvas_is_a_multiple_where_the_backbone_wants_it(divisibility, canvas):
    batch = ImageNormalizer(MEAN, STD, divisibility)([image(20, 33)])
    assert batch.tensor.shape[-2:] == canvas
    assert (batch.padding is None) == (canvas == (20, 33))
    assert batch.sizes == [(20, 33)]


@pytest.mark.parametrize(
    ("size", "canvas"),
    [((1, 1), (17, 17)), ((17, 33), (17, 33)), ((16, 34), (17, 49)), ((2, 18), (17, 33))],
)
def test_canvas_is_one_more_than_a_multiple_where_corners_are_aligned(size, canvas):
    batch = ImageNormalizer(MEAN, STD, 16, more=1)([image(*size)])
    assert batch.tensor.shape[-2:] == canvas and batch.sizes == [size]


def test_padding_of_the_mapper_is_padding():
    padding_mask = torch.zeros(20, 33, dtype=torch.bool)
    padding_mask[16:] = padding_mask[:, 30:] = True
    images = [image(20, 33), image(20, 33)]
    batch = ImageNormalizer(MEAN, STD, 0)(images, [padding_mask, None])
    assert batch.sizes == [(16, 30), (20, 33)]
    assert torch.equal(batch.padding[0], padding_mask) and not batch.padding[1].any()
    assert torch.equal(batch.tensor[0], batch.tensor[1]), "the mapper's pixels stay"


def test_statistics_are_no_part_of_a_checkpoint():
    normalizer = ImageNormalizer(MEAN, STD, 0)
    assert not normalizer.state_dict()
    assert normalizer.to(torch.float64).mean.dtype == torch.float64


@pytest.mark.parametrize("value", [0, 128.0])
def test_a_padding_value_is_what_images_were_padded_with_before(value):
    images = [image(20, 33), image(27, 30)]
    by_hand = [torch.full((3, 32, 48), value), torch.full((3, 32, 48), value)]
    for canvas, pixels in zip(by_hand, images, strict=True):
        canvas[:, : pixels.shape[1], : pixels.shape[2]] = pixels
    batch = ImageNormalizer(MEAN, STD, 16, padding_value=value)(images)
    torch.testing.assert_close(batch.tensor, ImageNormalizer(MEAN, STD, 16)(by_hand).tensor)
    assert batch.sizes == [(20, 33), (27, 30)] and batch.padding.any()
