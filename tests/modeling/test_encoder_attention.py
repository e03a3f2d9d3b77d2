"""What an encoder may attend with, against torch and against itself on one level."""

import pytest
import torch
import torch.nn.functional as F
from d2_psformer.modeling.pixel_decoder.encoder_attention import (
    PlainSelfAttention,
    SingleScaleDeformableAttention,
)
from torch import nn

from d2_psformer.layers import MultiScaleDeformableAttention
from d2_psformer.modeling.pixel_decoder import DeformablePixelDecoder
from d2_psformer.modeling.pixel_decoder.deformable_encoder import cell_centres

SHAPES = [(6, 8), (3, 4), (2, 2)]
LENGTHS = [h * w for h, w in SHAPES]
DIM, HEADS = 32, 4


def fill(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module


@pytest.fixture
def inputs():
    """query, reference, memory, padding of two images, the second of which has padding."""
    ratios = torch.tensor([[[1.0, 1.0]] * 3, [[0.75, 0.5]] * 3])
    padding = torch.zeros(2, sum(LENGTHS), dtype=torch.bool)
    padding[1, 40:48] = True
    padding[1, -2:] = True
    query, memory = torch.randn(2, 2, sum(LENGTHS), DIM)
    return query, cell_centres(SHAPES, ratios), memory, padding


def test_single_scale_is_deformable_attention_of_every_level_alone(inputs):
    query, reference, memory, padding = inputs
    ours = fill(SingleScaleDeformableAttention(DIM, HEADS, 4))
    one_level = MultiScaleDeformableAttention(DIM, HEADS, num_levels=1, num_points=4)
    one_level.load_state_dict(ours.state_dict())
    found = ours(query, reference, memory, SHAPES, padding)
    start = 0
    for level, length in enumerate(LENGTHS):
        cells = slice(start, start + length)
        expected = one_level(
            query[:, cells],
            reference[:, cells, level, None],
            memory[:, cells],
            [SHAPES[level]],
            padding[:, cells],
        )
        torch.testing.assert_close(found[:, cells], expected)
        start += length


def test_on_one_level_single_scale_is_multi_scale(inputs):
    query, reference, memory, padding = (x[:, : LENGTHS[0]] for x in inputs)
    ours = fill(SingleScaleDeformableAttention(DIM, HEADS, 4))
    theirs = MultiScaleDeformableAttention(DIM, HEADS, num_levels=1, num_points=4)
    theirs.load_state_dict(ours.state_dict())
    arguments = query, reference[:, :, :1], memory, SHAPES[:1], padding
    torch.testing.assert_close(ours(*arguments), theirs(*arguments))


def test_plain_attention_by_its_formula(inputs):
    query, reference, memory, padding = inputs
    ours = fill(PlainSelfAttention(DIM, HEADS))
    weights, biases = ours.attention.in_proj_weight.chunk(3), ours.attention.in_proj_bias.chunk(3)
    q, k, v = (
        F.linear(x, w, b).unflatten(-1, (HEADS, -1)).transpose(1, 2)
        for x, w, b in zip((query, query, memory), weights, biases, strict=True)
    )
    scores = q @ k.transpose(-2, -1) / (DIM // HEADS) ** 0.5
    scores = scores.masked_fill(padding[:, None, None], -torch.inf)
    expected = ours.attention.out_proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
    found = ours(query, reference, memory, SHAPES, padding)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def make_decoder(encoder: str) -> DeformablePixelDecoder:
    torch.manual_seed(0)
    return DeformablePixelDecoder(
        in_channels={"a": 8, "b": 12, "c": 16},
        dim=DIM,
        num_layers=2,
        num_heads=HEADS,
        num_levels=4,
        dim_feedforward=48,
        dropout=0.0,
        encoder=encoder,
    )


def maps(batch: int = 2) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {
        name: torch.randn(batch, channels, *shape)
        for name, channels, shape in zip("abc", (8, 12, 16), SHAPES, strict=True)
    }


def test_plain_encoder_equals_torchs_layers():
    """torch's encoder layer has no position: with a zero one both are the same."""
    decoder = make_decoder("attention")
    with torch.no_grad():
        decoder.level_embed.zero_()
    decoder.position.forward = lambda mask: torch.zeros(len(mask), DIM, *mask.shape[1:])
    tokens = make_decoder("none")
    tokens.input_projection = decoder.input_projection
    expected = tokens(maps(), None).tokens
    for layer in decoder.layers:
        theirs = nn.TransformerEncoderLayer(DIM, HEADS, 48, dropout=0.0, batch_first=True)
        for mine, other in [
            (layer.self_attn.attention, theirs.self_attn),
            (layer.norm, theirs.norm1),
            (layer.ffn.linear1, theirs.linear1),
            (layer.ffn.linear2, theirs.linear2),
            (layer.ffn.norm, theirs.norm2),
        ]:
            other.load_state_dict(mine.state_dict())
        expected = theirs(expected)
    torch.testing.assert_close(decoder(maps(), None).tokens, expected, rtol=1e-4, atol=1e-5)


def test_without_an_encoder_the_memory_is_the_projection():
    decoder = make_decoder("none")
    levels = decoder.input_projection(list(maps().values()))
    tokens = torch.cat([x.flatten(2).transpose(1, 2) for x in levels], dim=1)
    memory = decoder(maps(), None)
    assert torch.equal(memory.tokens, tokens)
    assert memory.spatial_shapes == (*SHAPES, (1, 1))
    assert {name.split(".")[0] for name, _ in decoder.named_parameters()} == {"input_projection"}


@pytest.mark.parametrize("encoder", ["single_scale", "attention"])
def test_padding_is_not_read(encoder):
    decoder = fill(make_decoder(encoder))
    padding = torch.zeros(2, 48, 64, dtype=torch.bool)
    padding[1, :, 32:] = True
    clean = decoder(maps(), padding)
    decoder.input_projection.register_forward_hook(
        lambda module, args, levels: [
            torch.where(mask[:, None], 100.0, x)
            for mask, x in zip(level_masks(clean), levels, strict=True)
        ]
    )
    noisy = decoder(maps(), padding)
    valid = ~clean.padding_mask
    torch.testing.assert_close(clean.tokens[valid], noisy.tokens[valid])


def level_masks(memory) -> list[torch.Tensor]:
    lengths = [h * w for h, w in memory.spatial_shapes]
    return [
        mask.unflatten(1, shape)
        for mask, shape in zip(
            memory.padding_mask.split(lengths, dim=1), memory.spatial_shapes, strict=True
        )
    ]


def test_single_scale_levels_do_not_see_each_other():
    decoder = fill(make_decoder("single_scale"))
    first, changed = maps(), maps()
    changed["a"] += 1
    before, after = decoder(first, None), decoder(changed, None)
    assert not torch.allclose(before.finest(1), after.finest(1))
    assert torch.equal(before.tokens[:, LENGTHS[0] :], after.tokens[:, LENGTHS[0] :])
