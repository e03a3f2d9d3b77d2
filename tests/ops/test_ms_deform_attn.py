"""The public functions against transformers, by hand, by numerical gradients; wrong arguments."""

import math

import pytest
import torch
from attention_inputs import BACKENDS, FORMS, call, random_inputs, skip_without
from hypothesis import given, settings
from hypothesis import strategies as st

from d2_psformer.ops import fused_ms_deform_attn, ms_deform_attn


@pytest.fixture(params=BACKENDS)
def backend(request):
    skip_without(request.param)
    return request.param


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
    inputs = random_inputs(shapes, batch, queries, heads, channels, points)
    value, _, locations, weights, _ = inputs
    expected = theirs.MultiScaleDeformableAttention()(
        value, torch.tensor(shapes), shapes, None, locations, weights, 64
    )
    torch.testing.assert_close(call(inputs), expected)
    torch.testing.assert_close(call(inputs, "pytorch"), expected)


@pytest.mark.parametrize("components", [2, 4])
def test_fused_is_softmax_and_normalised_offsets_before_the_classic_form(backend, components):
    value, shapes, offsets, logits, reference = random_inputs(components=components)
    weights = logits.flatten(-2).softmax(-1).view_as(logits)
    centre = reference[:, :, None, :, None, :2]
    if components == 2:
        sizes = torch.tensor([[w, h] for h, w in shapes])[:, None]
        locations = centre + offsets / sizes
    else:
        locations = centre + offsets / 2 * reference[:, :, None, :, None, 2:] * 0.5
    torch.testing.assert_close(
        fused_ms_deform_attn(value, shapes, offsets, logits, reference, backend=backend),
        ms_deform_attn(value, shapes, locations, weights, backend="pytorch"),
    )


def test_cell_centre_reads_that_cell(backend):
    value = torch.arange(6.0).view(1, 6, 1, 1)  # a 2 x 3 map
    centres = torch.tensor([[(x + 0.5) / 3, (y + 0.5) / 2] for y in range(2) for x in range(3)])
    output = ms_deform_attn(
        value,
        [(2, 3)],
        centres.view(1, 6, 1, 1, 1, 2),
        torch.ones(1, 6, 1, 1, 1),
        backend=backend,
    )
    torch.testing.assert_close(output.flatten(), torch.arange(6.0))


def test_reads_zero_outside_and_half_on_the_border(backend):
    value = torch.ones(1, 4, 1, 1)
    nan, inf = float("nan"), float("inf")
    points = [[-1.0, 0.5], [0.0, 0.25], [0.0, 0.0], [2.0, 2.0], [nan, 0.5], [0.5, -inf]]
    output = ms_deform_attn(
        value,
        [(2, 2)],
        torch.tensor(points).view(1, 6, 1, 1, 1, 2),
        torch.ones(1, 6, 1, 1, 1),
        backend=backend,
    )
    torch.testing.assert_close(output.flatten(), torch.tensor([0.0, 0.5, 0.25, 0.0, 0.0, 0.0]))


@pytest.mark.parametrize("components", FORMS)
def test_nan_locations_have_no_gradient(backend, components):
    value, shapes, sampling, attention, reference = random_inputs(components=components)
    sampling[0, 1, :, 0] = float("nan")
    inputs = [x.requires_grad_() for x in (value, sampling, attention)]
    output = call((inputs[0], shapes, *inputs[1:], reference), backend)
    gradients = torch.autograd.grad(output.sum(), inputs)
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert not gradients[1][0, 1, :, 0].any()


@pytest.mark.parametrize("place", [1.8e38, -1.8e38, math.inf])
def test_far_locations_read_zeros(backend, place):
    """Twice as large, they overflow."""
    value, shapes, sampling, attention, _ = random_inputs()
    sampling[:, 1] = place
    output = call((value, shapes, sampling, attention, None), backend)
    assert output.isfinite().all() and not output[:, 1].any()


def test_a_weight_that_is_not_finite_shows_though_its_sample_lies_outside(backend):
    value, shapes, sampling, attention, _ = random_inputs()
    sampling[0, 1, 2], attention[0, 1, 2, 0, 0] = 2.0, math.nan
    is_nan = call((value, shapes, sampling, attention, None), backend).isnan()
    assert is_nan[0, 1, 8:].all() and is_nan.sum() == 4


def test_spatial_shapes_may_be_a_tensor(backend):
    value, shapes, locations, weights, _ = random_inputs()
    torch.testing.assert_close(
        ms_deform_attn(value, torch.tensor(shapes), locations, weights, backend=backend),
        ms_deform_attn(value, shapes, locations, weights, backend=backend),
    )


def test_levels_and_points_add_up():
    value, shapes, locations, weights, _ = random_inputs([(3, 4), (2, 2)])
    alone = [
        ms_deform_attn(
            value, shapes, locations, weights * (torch.arange(2) == level).view(1, 1, 1, 2, 1)
        )
        for level in range(2)
    ]
    torch.testing.assert_close(
        ms_deform_attn(value, shapes, locations, weights), alone[0] + alone[1]
    )


@pytest.mark.parametrize("components", FORMS)
def test_gradients(backend, components):
    value, shapes, sampling, attention, reference = random_inputs(
        batch=1, queries=2, heads=2, channels=2, dtype=torch.float64, components=components
    )
    if components is None:
        sampling = sampling.clamp(0.02, 0.98)
    tensors = [x for x in (value, sampling, attention, reference) if x is not None]

    def function(value, sampling, attention, reference=None):
        return call((value, shapes, sampling, attention, reference), backend)

    assert torch.autograd.gradcheck(function, [x.requires_grad_() for x in tensors])


@pytest.mark.parametrize("components", [2, 4])
@pytest.mark.parametrize("needing", ["reference", "all but reference"])
def test_gradients_do_not_depend_on_which_are_asked_for(backend, components, needing):
    value, shapes, *others = random_inputs(components=components)
    tensors = [value, *others]
    asked = [3] if needing == "reference" else [0, 1, 2]

    def gradients(backend, wanted):
        leaves = [x.clone().requires_grad_(i in wanted) for i, x in enumerate(tensors)]
        output = call((leaves[0], shapes, *leaves[1:]), backend)
        return torch.autograd.grad(output.square().sum(), [leaves[i] for i in asked])

    torch.testing.assert_close(gradients(backend, asked), gradients("pytorch", range(4)))


@pytest.mark.parametrize("components", FORMS)
@pytest.mark.parametrize("batch, queries", [(2, 0), (0, 3)])
def test_nothing_asked_nothing_answered(backend, components, batch, queries):
    value, shapes, sampling, attention, reference = random_inputs(
        batch=batch, queries=queries, components=components
    )
    value.requires_grad_()
    output = call((value, shapes, sampling, attention, reference), backend)
    assert output.shape == (batch, queries, 12)
    output.sum().backward()
    assert not value.grad.any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("components", FORMS)
def test_half_types_are_summed_in_float32(backend, dtype, components):
    value, *others = random_inputs(components=components)
    value = value.to(dtype)
    output = call((value, *others), backend)
    assert output.dtype == dtype
    exact = call((value.float(), *others), "pytorch")
    torch.testing.assert_close(output, exact.to(dtype))


def test_slices_of_one_projection_need_no_copy(backend):
    value, shapes, offsets, logits, reference = random_inputs(components=2)
    merged = torch.cat([offsets.flatten(2), logits.flatten(2)], dim=-1)
    parts = merged.split([offsets[0, 0].numel(), logits[0, 0].numel()], dim=-1)
    slices = [x.unflatten(-1, y.shape[2:]) for x, y in zip(parts, (offsets, logits), strict=True)]
    assert not slices[0].is_contiguous()
    torch.testing.assert_close(
        fused_ms_deform_attn(value, shapes, *slices, reference, backend=backend),
        fused_ms_deform_attn(value, shapes, offsets, logits, reference, backend=backend),
    )


@pytest.mark.parametrize("components", FORMS)
def test_any_number_of_threads_gives_the_same(backend, components):
    threads = torch.get_num_threads()
    try:
        for queries in (3, 11, 60):
            value, shapes, sampling, attention, reference = random_inputs(
                [(9, 7), (4, 5)], queries=queries, components=components
            )
            leaves = [x.requires_grad_() for x in (value, sampling, attention)]
            outcomes = []
            for count in (1, 2, 5):
                torch.set_num_threads(count)
                for _ in range(5):
                    output = call((value, shapes, sampling, attention, reference), backend)
                    gradients = torch.autograd.grad(output.square().sum(), leaves)
                    outcomes.append((output, *gradients))
            for outcome in outcomes[1:]:
                torch.testing.assert_close(outcome, outcomes[0])
    finally:
        torch.set_num_threads(threads)


CLASSIC_ERRORS = [
    (lambda v, s, x, w: (v[0], s, x, w), r"value must be \(B, S, heads, channels\)"),
    (lambda v, s, x, w: (v.int(), s, x, w), "value must be float32, .* got int32"),
    (lambda v, s, x, w: (v, [(3, 3), (2, 2)], x, w), "do not add up to the 16 values"),
    (lambda v, s, x, w: (v, [(-3, -4), (2, 2)], x, w), "spatial_shapes must be positive"),
    (lambda v, s, x, w: (v, [], x, w), "spatial_shapes must hold"),
    (lambda v, s, x, w: (v, [(3, 4, 1)], x, w), r"spatial_shapes must be pairs \(H, W\)"),
    (
        lambda v, s, x, w: (v, torch.ones(4).int(), x, w),
        r"must be pairs \(H, W\), got \[1, 1, 1, 1\]",
    ),
    (lambda v, s, x, w: (v, torch.ones(2, 2), x, w), "spatial_shapes must be pairs of ints, got"),
    (lambda v, s, x, w: (v, torch.ones(2, 2).to("meta"), x, w), "spatial_shapes is on meta"),
    (lambda v, s, x, w: (v, None, x, w), "spatial_shapes must be pairs .* got None"),
    (lambda v, s, x, w: (v.numpy(), s, x, w), "value must be a tensor, got ndarray"),
    (lambda v, s, x, w: (v, s, x.to_sparse(), w), "sampling_locations must be a dense tensor"),
    (lambda v, s, x, w: (v, s, x[:1], w), r"sampling_locations must be \(2, Q, 3, 2"),
    (lambda v, s, x, w: (v, s, x[:, :, :2], w), "sampling_locations must be"),
    (lambda v, s, x, w: (v, s, x[:, :, :, :1], w), "sampling_locations must be"),
    (lambda v, s, x, w: (v, s, x[..., 0], w), "sampling_locations must be"),
    (lambda v, s, x, w: (v, s, x.double(), w), "sampling_locations must be float32"),
    (lambda v, s, x, w: (v.half(), s, x.bfloat16(), w), "must be float16 or float32"),
    (lambda v, s, x, w: (v, s, x.to("meta"), w), "sampling_locations is on meta, .* on cpu"),
    (lambda v, s, x, w: (v, s, x, w[..., :1]), r"attention_weights must be \(2, 5, 3, 2, 2\)"),
    (lambda v, s, x, w: (v, s, x, w.half()), "attention_weights must be float32"),
]


@pytest.mark.parametrize(("change", "message"), CLASSIC_ERRORS)
def test_wrong_arguments_are_named(backend, change, message):
    with pytest.raises(ValueError, match=message):
        ms_deform_attn(*change(*random_inputs()[:4]), backend=backend)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, w, r: (x[:, :1], w, r), r"attention_logits must be \(2, 1, 3, 2, 2\)"),
        (lambda x, w, r: (x[:1], w, r), "sampling_offsets must be"),
        (lambda x, w, r: (x, w, r[..., :1]), r"reference_points must be \(2, 5, 2, 2\) or"),
        (lambda x, w, r: (x, w, r[:, :, :1]), "reference_points must be"),
        (lambda x, w, r: (x, w, r.to("meta")), "reference_points is on meta"),
        (lambda x, w, r: (x, w, r.int()), "reference_points must be floats, got torch.int32"),
        (lambda x, w, r: (x, None, r), "attention_logits must be a tensor, got NoneType"),
    ],
)
def test_wrong_arguments_of_the_fused_form_are_named(backend, change, message):
    value, shapes, *others = random_inputs(components=2)
    with pytest.raises(ValueError, match=message):
        fused_ms_deform_attn(value, shapes, *change(*others), backend=backend)


def test_an_unknown_backend_is_named():
    with pytest.raises(ValueError, match=r"backend must be None or one of .* got 'cudnn'"):
        call(random_inputs(), "cudnn")
