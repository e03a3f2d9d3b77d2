"""Position encoding against transformers' Deformable DETR."""

import pytest
import torch

from d2_psformer.layers import SinePositionEncoding


@pytest.fixture
def padding_mask():
    mask = torch.ones(3, 6, 9, dtype=torch.bool)
    for image, (height, width) in zip(mask, [(6, 9), (4, 9), (5, 3)], strict=True):
        image[:height, :width] = False
    return mask


def test_equals_transformers(padding_mask):
    theirs = pytest.importorskip("transformers.models.deformable_detr.modeling_deformable_detr")
    reference = theirs.DeformableDetrSinePositionEmbedding(16, normalize=True)
    expected = reference((3, 32, 6, 9), "cpu", torch.float32, ~padding_mask)
    torch.testing.assert_close(SinePositionEncoding(32)(padding_mask), expected)


def test_padding_changes_nothing_in_the_valid_part():
    alone = SinePositionEncoding(16)(torch.zeros(1, 4, 5, dtype=torch.bool))
    mask = torch.ones(1, 7, 8, dtype=torch.bool)
    mask[:, :4, :5] = False
    padded = SinePositionEncoding(16)(mask)
    torch.testing.assert_close(padded[:, :, :4, :5], alone)
    assert torch.isfinite(padded).all()


def test_y_comes_before_x():
    code = SinePositionEncoding(8)(torch.zeros(1, 3, 4, dtype=torch.bool))[0]
    assert (code[:4] == code[:4, :, :1]).all(), "the first half depends on y alone"
    assert (code[4:] == code[4:, :1, :]).all(), "the second half depends on x alone"


def test_dim_must_be_a_multiple_of_four():
    with pytest.raises(ValueError, match="multiple of 4, got 10"):
        SinePositionEncoding(10)
