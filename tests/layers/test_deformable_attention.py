"""The attention module against transformers' Deformable DETR."""

import pytest
import torch

from d2_psformer.layers import MultiScaleDeformableAttention

SHAPES = [(5, 6), (3, 3), (2, 2)]
LENGTH = sum(h * w for h, w in SHAPES)
DIM, HEADS, POINTS = 16, 2, 4


@pytest.fixture
def attention():
    module = MultiScaleDeformableAttention(DIM, HEADS, len(SHAPES), POINTS)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return module


@pytest.mark.parametrize("coordinates", [2, 4])
def test_equals_transformers(attention, coordinates):
    theirs = pytest.importorskip("transformers.models.deformable_detr.modeling_deformable_detr")
    config = theirs.DeformableDetrConfig(d_model=DIM, num_feature_levels=len(SHAPES))
    reference = theirs.DeformableDetrMultiscaleDeformableAttention(config, HEADS, POINTS)
    reference.load_state_dict(attention.state_dict())
    query, memory = torch.randn(2, 7, DIM), torch.randn(2, LENGTH, DIM)
    points = torch.rand(2, 7, len(SHAPES), coordinates)
    padding = torch.rand(2, LENGTH) < 0.3
    expected, _ = reference(
        query,
        attention_mask=~padding,
        encoder_hidden_states=memory,
        reference_points=points,
        spatial_shapes=torch.tensor(SHAPES),
        spatial_shapes_list=SHAPES,
    )
    torch.testing.assert_close(attention(query, points, memory, SHAPES, padding), expected)


def test_padded_values_are_never_read(attention):
    query, memory = torch.randn(2, 7, DIM), torch.randn(2, LENGTH, DIM)
    points = torch.rand(2, 7, len(SHAPES), 2)
    padding = torch.rand(2, LENGTH) < 0.5
    noisy = torch.where(padding[..., None], torch.full_like(memory, 1e6), memory)
    torch.testing.assert_close(
        attention(query, points, memory, SHAPES, padding),
        attention(query, points, noisy, SHAPES, padding),
    )


def test_starts_as_a_star_with_uniform_weights():
    attention = MultiScaleDeformableAttention(256, 8, 4, 4)
    star = attention.sampling_offsets.bias.view(8, 4, 4, 2)
    torch.testing.assert_close(star[0, 0].flatten(), torch.tensor([1.0, 0, 2, 0, 3, 0, 4, 0]))
    torch.testing.assert_close(star[1, 3].flatten(), torch.tensor([1.0, 1, 2, 2, 3, 3, 4, 4]))
    torch.testing.assert_close(star[4], -star[0])
    assert not attention.sampling_offsets.weight.any()
    assert not attention.attention_weights.weight.any()
    assert not attention.attention_weights.bias.any()


def test_heads_must_divide_channels():
    with pytest.raises(ValueError, match="heads is 4: it must divide dim, which is 10"):
        MultiScaleDeformableAttention(10, 4)


def test_gradients_reach_all_parameters(attention):
    query, memory = torch.randn(2, 7, DIM), torch.randn(2, LENGTH, DIM)
    attention(query, torch.rand(2, 7, len(SHAPES), 2), memory, SHAPES).sum().backward()
    assert all(parameter.grad.any() for parameter in attention.parameters())


def test_an_exported_program_gives_the_same_numbers(attention):
    given = torch.randn(1, 5, DIM), torch.rand(1, 5, 3, 2), torch.randn(1, LENGTH, DIM)
    with torch.no_grad():
        program = torch.export.export(attention.eval(), (*given, SHAPES))
        torch.testing.assert_close(program.module()(*given, SHAPES), attention(*given, SHAPES))
