"""The deformable encoder against transformers' Deformable DETR."""

import pytest
import torch
from torch import nn

from d2_psformer.modeling.pixel_decoder import DeformablePixelDecoder
from d2_psformer.modeling.pixel_decoder.deformable_pixel_decoder import cell_centres
from d2_psformer.modeling.pixel_decoder.features import level_padding_masks, valid_ratio

SHAPES = [(6, 8), (3, 4), (2, 2)]
DIM, HEADS, LAYERS = 32, 4, 2


class Given(nn.Module):
    """Stands in for the projection: returns what the test made."""

    def forward(self, features):
        return features


@pytest.fixture
def decoder():
    decoder = DeformablePixelDecoder(
        in_channels={"a": DIM, "b": DIM, "c": DIM},
        dim=DIM,
        layers=LAYERS,
        heads=HEADS,
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
    features = decoder(maps, padding_mask)
    torch.testing.assert_close(features.tokens, expected, rtol=1e-4, atol=1e-5)
    assert features.spatial_shapes == tuple(SHAPES)


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
    valid = ~clean.padding
    torch.testing.assert_close(clean.tokens[valid], other.tokens[valid])


def test_no_mask_is_a_mask_without_padding(decoder, padding_mask):
    maps = random_maps()
    without, empty = decoder(maps, None), decoder(maps, torch.zeros_like(padding_mask))
    assert without.padding is None
    torch.testing.assert_close(without.tokens, empty.tokens)
    assert (without.valid_ratios == 1).all()


def test_images_of_a_batch_do_not_see_each_other(decoder, padding_mask):
    maps = random_maps()
    together = decoder(maps, padding_mask)
    alone = decoder({k: x[1:] for k, x in maps.items()}, padding_mask[1:])
    torch.testing.assert_close(together.tokens[1:], alone.tokens)
    assert torch.equal(together.valid_ratios[1:], alone.valid_ratios)


def test_without_layers_the_result_is_the_projection():
    decoder = DeformablePixelDecoder(
        in_channels={"a": 8, "b": 12, "c": 16}, dim=DIM, layers=0, heads=HEADS, num_levels=4
    )
    maps = {
        name: torch.randn(2, channels, *shape)
        for name, channels, shape in zip("abc", (8, 12, 16), SHAPES, strict=True)
    }
    levels = decoder.input_projection(list(maps.values()))
    tokens = torch.cat([x.flatten(2).transpose(1, 2) for x in levels], dim=1)
    features = decoder(maps, None)
    assert torch.equal(features.tokens, tokens)
    assert features.spatial_shapes == (*SHAPES, (1, 1))
    assert {name.split(".")[0] for name, _ in decoder.named_parameters()} == {"input_projection"}
