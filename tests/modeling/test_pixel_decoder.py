"""Input projection, deformable encoder and memory, against transformers' Deformable DETR."""

import pytest
import torch
from d2_psformer.modeling.pixel_decoder.memory import level_padding_masks, valid_ratio
from torch import nn

from d2_psformer.modeling.pixel_decoder import DeformablePixelDecoder, Memory
from d2_psformer.modeling.pixel_decoder.deformable_encoder import cell_centres
from d2_psformer.modeling.pixel_decoder.input_projection import InputProjection

SHAPES = [(6, 8), (3, 4), (2, 2)]
DIM, HEADS, LAYERS = 32, 4, 2


class Given(nn.Module):
    """Stands in for the projection: hands on what the test made."""

    def forward(self, features):
        return features


@pytest.fixture
def decoder():
    decoder = DeformablePixelDecoder(
        in_channels={"a": DIM, "b": DIM, "c": DIM},
        dim=DIM,
        num_layers=LAYERS,
        num_heads=HEADS,
        num_levels=3,
        dim_feedforward=48,
        dropout=0.1,
    )
    for parameter in decoder.parameters():
        nn.init.normal_(parameter, std=0.2)
    decoder.input_projection = Given()
    return decoder.eval()


@pytest.fixture
def padding_mask():
    """An image that fills the canvas and one of 40 x 36 in it."""
    mask = torch.zeros(2, 48, 64, dtype=torch.bool)
    mask[1, 40:] = True
    mask[1, :, 36:] = True
    return mask


def random_maps(batch: int = 2) -> dict[str, torch.Tensor]:
    return {name: torch.randn(batch, DIM, *s) for name, s in zip("abc", SHAPES, strict=True)}


def to_transformers(key: str) -> str:
    for ours, theirs in [
        (".ffn.linear", ".mlp.fc"),
        (".ffn.norm.", ".final_layer_norm."),
        (".norm.", ".self_attn_layer_norm."),
    ]:
        key = key.replace(ours, theirs)
    return key


def test_encoder_equals_transformers(decoder, padding_mask):
    module = pytest.importorskip("transformers.models.deformable_detr.modeling_deformable_detr")
    config = module.DeformableDetrConfig(
        d_model=DIM,
        num_feature_levels=3,
        encoder_layers=LAYERS,
        encoder_attention_heads=HEADS,
        encoder_ffn_dim=48,
    )
    theirs = module.DeformableDetrEncoder(config).eval()
    theirs.load_state_dict(
        {to_transformers(k): v for k, v in decoder.state_dict().items() if k.startswith("layers")}
    )
    maps = random_maps()
    masks = level_padding_masks(padding_mask, SHAPES)
    embed = module.DeformableDetrSinePositionEmbedding(DIM // 2, normalize=True)
    position = [
        embed(x.shape, "cpu", torch.float32, ~mask).flatten(2).transpose(1, 2) + code
        for x, mask, code in zip(maps.values(), masks, decoder.level_embed, strict=True)
    ]
    expected = theirs(
        inputs_embeds=torch.cat([x.flatten(2).transpose(1, 2) for x in maps.values()], 1),
        attention_mask=~torch.cat([m.flatten(1) for m in masks], 1),
        spatial_position_embeddings=torch.cat(position, 1),
        spatial_shapes=torch.tensor(SHAPES),
        spatial_shapes_list=SHAPES,
        valid_ratios=torch.stack([valid_ratio(m) for m in masks], 1),
    ).last_hidden_state
    memory = decoder(maps, padding_mask)
    torch.testing.assert_close(memory.tokens, expected, rtol=1e-4, atol=1e-5)
    assert memory.spatial_shapes == tuple(SHAPES)


def test_cell_centres_equal_transformers():
    module = pytest.importorskip("transformers.models.deformable_detr.modeling_deformable_detr")
    ratios = torch.rand(2, 3, 2) * 0.5 + 0.5
    expected = module.DeformableDetrEncoder.get_reference_points(SHAPES, ratios, "cpu")
    torch.testing.assert_close(cell_centres(SHAPES, ratios), expected)


def test_tokens_do_not_depend_on_what_lies_in_the_padding(decoder, padding_mask):
    maps = random_maps()
    masks = level_padding_masks(padding_mask, SHAPES)
    noisy = {
        name: torch.where(mask[:, None], 100 * torch.randn_like(x), x)
        for (name, x), mask in zip(maps.items(), masks, strict=True)
    }
    clean, other = decoder(maps, padding_mask), decoder(noisy, padding_mask)
    valid = ~clean.padding_mask
    torch.testing.assert_close(clean.tokens[valid], other.tokens[valid])


def test_no_mask_is_a_mask_without_padding(decoder, padding_mask):
    maps = random_maps()
    without, empty = decoder(maps, None), decoder(maps, torch.zeros_like(padding_mask))
    assert without.padding_mask is None is without.image(1).padding_mask
    torch.testing.assert_close(without.tokens, empty.tokens)
    assert (without.valid_ratios == 1).all()


def test_images_of_a_batch_do_not_see_each_other(decoder, padding_mask):
    maps = random_maps()
    together = decoder(maps, padding_mask)
    alone = decoder({k: x[1:] for k, x in maps.items()}, padding_mask[1:])
    torch.testing.assert_close(together.image(1).tokens, alone.tokens)
    assert torch.equal(together.image(1).valid_ratios, alone.valid_ratios)


def test_level_masks_and_valid_ratios(padding_mask):
    masks = level_padding_masks(padding_mask, SHAPES)
    assert [tuple(m.shape) for m in masks] == [(2, *s) for s in SHAPES]
    assert not masks[0][0].any()
    # stride 8: 40 x 36 of 48 x 64 pixels are 5 rows and, by nearest cell, 5 columns
    assert (~masks[0][1, :, 0]).sum() == 5 and (~masks[0][1, 0]).sum() == 5
    torch.testing.assert_close(valid_ratio(masks[0])[1], torch.tensor([5 / 8, 5 / 6]))
    torch.testing.assert_close(valid_ratio(masks[0])[0], torch.ones(2))


def test_finest_levels_of_a_memory():
    tokens = torch.arange(64.0).view(1, 64, 1)
    memory = Memory(tokens, tuple(SHAPES), torch.zeros(1, 64).bool(), torch.ones(1, 3, 2))
    assert memory.finest(1).shape[1] == 48
    assert memory.finest(2).shape[1] == 60
    assert torch.equal(memory.finest(3), tokens)


def test_projection_makes_coarser_levels_from_the_raw_last_feature():
    projection = InputProjection([8, 12], dim=16, num_levels=4)
    levels = projection([torch.randn(2, 8, 9, 11), torch.randn(2, 12, 5, 6)])
    assert [tuple(x.shape) for x in levels] == [
        (2, 16, 9, 11),
        (2, 16, 5, 6),
        (2, 16, 3, 3),
        (2, 16, 2, 2),
    ]
    assert projection.extra[0][0].weight.shape == (16, 12, 3, 3)
    assert projection.extra[1][0].weight.shape == (16, 16, 3, 3)
    assert all(conv.bias is None for conv, _ in [*projection.projections, *projection.extra])


@pytest.mark.parametrize(("dim", "groups"), [(256, 32), (64, 32), (32, 8), (24, 8)])
def test_group_norm_fits_the_width(dim, groups):
    projection = InputProjection([4], dim, 1)
    assert projection.projections[0][1].num_groups == groups
    assert projection([torch.ones(1, 4, 1, 1)])[0].shape == (1, dim, 1, 1)


def test_projection_without_extra_levels():
    assert (
        len(InputProjection([4, 8], 16, 2)([torch.ones(1, 4, 2, 2), torch.ones(1, 8, 1, 1)])) == 2
    )


def test_fewer_levels_than_features_is_told():
    with pytest.raises(ValueError, match="NUM_FEATURE_LEVELS 2 is below the 3 IN_FEATURES"):
        InputProjection([4, 8, 16], 16, 2)
