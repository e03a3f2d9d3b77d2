"""The operator against transformers' function, by hand, and by numerical gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from d2_psformer.ops import ms_deform_attn


def random_inputs(shapes, batch=2, queries=5, heads=3, channels=4, points=2, dtype=torch.float32):
    """value, shapes, locations (some outside the map) and weights that sum to one."""
    length = sum(h * w for h, w in shapes)
    levels = len(shapes)
    value = torch.randn(batch, length, heads, channels, dtype=dtype)
    locations = torch.rand(batch, queries, heads, levels, points, 2, dtype=dtype) * 1.4 - 0.2
    weights = torch.rand(batch, queries, heads, levels * points, dtype=dtype).softmax(-1)
    return value, shapes, locations, weights.unflatten(-1, (levels, points))


@settings(max_examples=25, deadline=None)
@given(
    shapes=st.lists(st.tuples(st.integers(1, 7), st.integers(1, 7)), min_size=1, max_size=4),
    batch=st.integers(1, 3),
    queries=st.integers(1, 6),
    heads=st.integers(1, 3),
    channels=st.integers(1, 5),
    points=st.integers(1, 4),
    seed=st.integers(0, 2**16),
)
def test_equals_transformers(shapes, batch, queries, heads, channels, points, seed):
    theirs = pytest.importorskip("transformers.models.deformable_detr.modeling_deformable_detr")
    torch.manual_seed(seed)
    value, _, locations, weights = random_inputs(shapes, batch, queries, heads, channels, points)
    expected = theirs.MultiScaleDeformableAttention()(
        value, torch.tensor(shapes), shapes, None, locations, weights, 64
    )
    torch.testing.assert_close(ms_deform_attn(value, shapes, locations, weights), expected)


def test_cell_centre_reads_that_cell():
    value = torch.arange(6.0).view(1, 6, 1, 1)  # a 2 x 3 map
    centres = torch.tensor([[(x + 0.5) / 3, (y + 0.5) / 2] for y in range(2) for x in range(3)])
    output = ms_deform_attn(
        value, [(2, 3)], centres.view(1, 6, 1, 1, 1, 2), torch.ones(1, 6, 1, 1, 1)
    )
    torch.testing.assert_close(output.flatten(), torch.arange(6.0))


def test_reads_zero_outside_and_half_on_the_border():
    value = torch.ones(1, 4, 1, 1)
    points = torch.tensor([[-1.0, 0.5], [0.0, 0.25], [0.0, 0.0], [2.0, 2.0]])
    output = ms_deform_attn(
        value, [(2, 2)], points.view(1, 4, 1, 1, 1, 2), torch.ones(1, 4, 1, 1, 1)
    )
    torch.testing.assert_close(output.flatten(), torch.tensor([0.0, 0.5, 0.25, 0.0]))


def test_spatial_shapes_may_be_a_tensor():
    value, shapes, locations, weights = random_inputs([(3, 4), (2, 2)])
    torch.testing.assert_close(
        ms_deform_attn(value, torch.tensor(shapes), locations, weights),
        ms_deform_attn(value, shapes, locations, weights),
    )


def test_levels_and_points_add_up():
    value, shapes, locations, weights = random_inputs([(3, 4), (2, 2)])
    alone = [
        ms_deform_attn(
            value, shapes, locations, weights * (torch.arange(2) == level).view(1, 1, 1, 2, 1)
        )
        for level in range(2)
    ]
    torch.testing.assert_close(
        ms_deform_attn(value, shapes, locations, weights), alone[0] + alone[1]
    )


def test_gradients():
    value, shapes, locations, weights = random_inputs(
        [(3, 4), (2, 2)], batch=1, queries=2, heads=2, channels=2, dtype=torch.float64
    )
    # bilinear sampling has kinks at cell centres: stay inside cells
    locations = locations.clamp(0.02, 0.98)
    tensors = [x.requires_grad_() for x in (value, locations, weights)]
    assert torch.autograd.gradcheck(lambda v, x, w: ms_deform_attn(v, shapes, x, w), tensors)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v, s, x, w: (v[0], s, x, w), r"value must be \(B, S, heads, channels\)"),
        (lambda v, s, x, w: (v, [(3, 3), (2, 2)], x, w), "do not add up to the 16 values"),
        (lambda v, s, x, w: (v, s, x[:1], w), r"sampling_locations must be \(2, Q, 3, 2"),
        (lambda v, s, x, w: (v, s, x[:, :, :2], w), "sampling_locations must be"),
        (lambda v, s, x, w: (v, s, x[:, :, :, :1], w), "sampling_locations must be"),
        (lambda v, s, x, w: (v, s, x[..., 0], w), "sampling_locations must be"),
        (lambda v, s, x, w: (v, s, x, w[..., :1]), r"attention_weights must be \(2, 5, 3, 2, 2\)"),
    ],
)
def test_wrong_shapes_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        ms_deform_attn(*change(*random_inputs([(3, 4), (2, 2)])))
