"""What pixel decoders give, and the padding of levels."""

import torch

from d2_psformer.modeling.pixel_decoder import PixelFeatures
from d2_psformer.modeling.pixel_decoder.features import level_padding_masks, valid_ratio

SHAPES = ((6, 8), (3, 4), (2, 2))


def test_level_masks_and_valid_ratios():
    padding = torch.zeros(2, 48, 64, dtype=torch.bool)
    padding[1, 40:] = True
    padding[1, :, 36:] = True
    masks = level_padding_masks(padding, SHAPES)
    assert [tuple(m.shape) for m in masks] == [(2, *s) for s in SHAPES]
    assert not masks[0][0].any()
    # stride 8: 40 x 36 of 48 x 64 pixels are 5 rows and, by nearest cell, 5 columns
    assert (~masks[0][1, :, 0]).sum() == 5 and (~masks[0][1, 0]).sum() == 5
    torch.testing.assert_close(valid_ratio(masks[0])[1], torch.tensor([5 / 8, 5 / 6]))
    torch.testing.assert_close(valid_ratio(masks[0])[0], torch.ones(2))


def test_finest_levels():
    tokens = torch.arange(64.0).view(1, 64, 1)
    features = PixelFeatures(tokens, SHAPES, None, torch.ones(1, 3, 2))
    for levels, length in ((1, 48), (2, 60), (3, 64)):
        finest, shapes = features.finest(levels)
        assert torch.equal(finest, tokens[:, :length]) and shapes == SHAPES[:levels]
