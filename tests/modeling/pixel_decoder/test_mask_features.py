"""Pixel decoders that make mask features: MaskFormer's and Mask2Former's."""

import pytest
import torch
import torch.nn.functional as F

from d2_psformer.modeling.pixel_decoder import (
    FPN,
    Mask2FormerPixelDecoder,
    MaskFormerPixelDecoder,
)
from d2_psformer.modeling.pixel_decoder.fpn import TopDownStep

CHANNELS = {"res2": 8, "res3": 12, "res4": 16, "res5": 24}


def features(height: int = 64, width: int = 96) -> dict[str, torch.Tensor]:
    """Maps of strides 4 to 32 of an image of any size."""
    return {
        name: torch.randn(2, channels, -(-height // stride), -(-width // stride))
        for (name, channels), stride in zip(CHANNELS.items(), (4, 8, 16, 32), strict=True)
    }


def mask2former(num_levels: int) -> Mask2FormerPixelDecoder:
    return Mask2FormerPixelDecoder(
        in_channels=CHANNELS,
        dim=32,
        mask_dim=20,
        num_levels=num_levels,
        layers=1,
        heads=4,
        dim_feedforward=32,
        dropout=0.0,
    )


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_a_step_adds_the_finer_map_to_the_enlarged_coarser_one(mode):
    step = TopDownStep(8, 16, mode)
    finer, coarser = torch.randn(1, 8, 5, 7), torch.randn(1, 16, 3, 4)
    enlarged = F.interpolate(coarser, (5, 7), mode=mode)
    expected = F.relu(step.output(step.lateral(finer) + enlarged))
    torch.testing.assert_close(step(finer, coarser), expected)


@pytest.mark.parametrize("size", [(64, 96), (50, 61)])
def test_mask_features_have_the_finest_stride(size):
    maps = features(*size)
    finest = maps["res2"].shape[-2:]
    fpn = FPN(list(CHANNELS.values()), 32, 20)
    assert fpn(list(maps.values())).shape == (2, 20, *finest)
    for layers in (0, 1):
        decoder = MaskFormerPixelDecoder(in_channels=CHANNELS, dim=32, mask_dim=20, layers=layers)
        encoded = decoder(maps)
        assert encoded.mask_features.shape == (2, 20, *finest)
        assert encoded.spatial_shapes == (tuple(maps["res5"].shape[-2:]),)
    assert mask2former(3)(maps).mask_features.shape == (2, 20, *finest)


@pytest.mark.parametrize(
    ("num_levels", "read", "steps"),
    [
        (3, ["res3", "res4", "res5"], 1),
        (2, ["res4", "res5"], 2),
        (4, list(CHANNELS), 0),
        (5, list(CHANNELS), 0),
    ],
)
def test_the_encoder_reads_the_coarsest_levels(num_levels, read, steps):
    decoder = mask2former(num_levels)
    assert decoder.encoder.in_features == read and len(decoder.steps) == steps
    encoded = decoder(features())
    assert len(encoded.spatial_shapes) == num_levels
    assert encoded.mask_features.shape[-2:] == (16, 24)
    encoded.mask_features.square().mean().backward()
    # what is coarser than the mask features reaches them through the encoder
    assert all(p.grad is not None for p in decoder.parameters())


def test_mask2former_is_computed_in_float32_in_training_alone():
    decoder, maps = mask2former(3), features()
    expected = decoder(maps)
    with torch.autocast("cpu", torch.bfloat16):
        trained = decoder.train()(maps)
        predicted = decoder.eval()(maps)
    assert torch.equal(trained.mask_features, expected.mask_features)
    assert predicted.mask_features.dtype == torch.bfloat16


def test_the_encoder_of_maskformer_knows_where_a_cell_is():
    """Without positions, swapping two cells of the map would swap the tokens and no more."""
    decoder = MaskFormerPixelDecoder(in_channels=CHANNELS, dim=32, mask_dim=20, layers=2).eval()
    maps = features()
    swapped = maps | {"res5": maps["res5"].flip(-1)}
    tokens, others = (decoder(x).tokens.unflatten(1, (2, 3)) for x in (maps, swapped))
    assert not torch.allclose(tokens, others.flip(2), atol=1e-3)
