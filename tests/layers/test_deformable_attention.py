"""The attention module against transformers' Deformable DETR."""

import copy
import pickle

import pytest
import torch

from d2_psformer.layers import MultiScaleDeformableAttention, deformable_attention
from d2_psformer.ops import has_kernel

SHAPES = [(5, 6), (3, 3), (2, 2)]
LENGTH = sum(h * w for h, w in SHAPES)
MANY_CELLS = [(9, 11), (5, 6), (3, 3)]
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
    with pytest.raises(ValueError, match="dim 10 is not a multiple of num_heads 4"):
        MultiScaleDeformableAttention(10, 4)


def inputs():
    return torch.randn(2, 7, DIM), torch.rand(2, 7, len(SHAPES), 2), torch.randn(2, LENGTH, DIM)


def changed_in_place(attention):
    with torch.no_grad():
        attention.attention_weights.bias += torch.arange(2 * 3 * POINTS)


def replaced(attention):
    weight = attention.sampling_offsets.weight.detach()
    attention.sampling_offsets.weight = torch.nn.Parameter(weight + 1)


def loaded(attention):
    attention.load_state_dict({k: v * 2 for k, v in attention.state_dict().items()}, assign=True)


def moved_and_back(attention):
    attention.double().float()
    attention.sampling_offsets.bias.data += 1


def changed_while_training(attention):
    attention.train()
    attention.sampling_offsets.bias.data += 1
    attention.eval()


@pytest.mark.parametrize(
    "change", [changed_in_place, replaced, loaded, moved_and_back, changed_while_training]
)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_inference_sees_every_change_of_the_parameters(attention, change, mode):
    given = (*inputs(), SHAPES)
    attention.eval()
    with mode():
        before = attention(*given)
        assert torch.equal(attention(*given), before)
    change(attention)
    with mode():
        kept = attention(*given)
    fresh = attention.train()(*given)
    torch.testing.assert_close(kept, fresh.detach())
    assert not torch.allclose(kept, before)


def test_inference_merges_its_projections_once(attention):
    attention.eval()
    with torch.no_grad():
        first, second = (attention._merged_projection()[0] for _ in range(2))
    assert first is second
    assert attention._merged_projection()[0].requires_grad


def test_what_is_kept_for_inference_is_neither_copied_nor_saved(attention):
    given = (*inputs(), SHAPES)
    attention.eval()
    with torch.no_grad():
        expected = attention(*given)
        for twin in (copy.deepcopy(attention), pickle.loads(pickle.dumps(attention))):
            assert twin._kept is None
            torch.testing.assert_close(twin(*given), expected)
    assert not [name for name in attention.state_dict() if "kept" in name]


def test_gradients_reach_both_projections_in_eval_mode_too(attention):
    attention.eval()
    with torch.no_grad():
        attention(*inputs(), SHAPES)
    attention(*inputs(), SHAPES).sum().backward()
    assert all(parameter.grad.any() for parameter in attention.parameters())


def results(attention, order, monkeypatch, coordinates, padded, dtype, batch=2):
    """Output and all gradients, in one of the two orders of sampling and projection."""
    monkeypatch.setattr(attention, "_samples_are_few", lambda *_: order == "samples")
    attention.zero_grad()
    draw = torch.Generator().manual_seed(3)
    length = sum(h * w for h, w in MANY_CELLS)
    query = torch.randn(batch, 5, DIM, generator=draw)
    memory = torch.randn(batch, length, DIM, generator=draw)
    # some of them lie outside of the maps
    points = torch.rand(batch, 5, len(MANY_CELLS), coordinates, generator=draw) * 1.6 - 0.3
    padding = torch.rand(batch, length, generator=draw) < 0.3 if padded else None
    inputs = [x.to(dtype).requires_grad_() for x in (query, points, memory)]
    output = attention(*inputs, MANY_CELLS, padding)
    output.backward(torch.randn(output.shape, generator=draw).to(output.dtype))
    parameters = {name: p.grad for name, p in attention.named_parameters()}
    named = zip(("query", "points", "memory"), inputs, strict=True)
    return {"output": output.detach(), **{n: x.grad for n, x in named}, **parameters}


@pytest.mark.parametrize("coordinates", [2, 4])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(
    "dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 2e-5)], ids=str
)
def test_projection_and_sampling_commute(
    attention, monkeypatch, coordinates, padded, dtype, tolerance
):
    attention.to(dtype)
    given = monkeypatch, coordinates, padded, dtype
    first = results(attention, "values", *given)
    second = results(attention, "samples", *given)
    assert all(x.any() for x in first.values())
    torch.testing.assert_close(second, first, rtol=tolerance, atol=tolerance)


def test_projection_and_sampling_commute_under_autocast(attention, monkeypatch):
    given = monkeypatch, 4, True, torch.float32
    exact = results(attention, "values", *given)
    with torch.autocast("cpu", torch.bfloat16):
        orders = [results(attention, order, *given) for order in ("values", "samples")]
    for name in exact:
        errors = [(x[name].float() - exact[name]).norm() for x in orders]
        assert errors[1] < 1.5 * errors[0] + 1e-3 * exact[name].norm(), name


@pytest.fixture
def products(attention):
    """The number of rows that each call of the value projection was given."""
    rows = []
    attention.value_proj.register_forward_hook(lambda _, inputs, __: rows.append(inputs[0].shape))
    return rows


def read(attention, queries):
    """As many queries as told, of a memory of 138 cells."""
    memory = torch.randn(1, sum(h * w for h, w in MANY_CELLS), DIM)
    attention(torch.randn(1, queries, DIM), torch.rand(1, queries, 3, 2), memory, MANY_CELLS)


@pytest.mark.parametrize("queries, first", [(34, "samples"), (35, "values")])
def test_the_order_with_less_work_is_taken(attention, products, monkeypatch, queries, first):
    """Two heads: 2 x 2 x 34 rows are no more than 138 cells."""
    monkeypatch.setattr(deformable_attention, "has_kernel", lambda device_type: True)
    read(attention, queries)
    assert bool(products) == (first == "values")


def test_values_are_projected_first_without_a_kernel(attention, products, monkeypatch):
    monkeypatch.setattr(deformable_attention, "has_kernel", lambda device_type: False)
    read(attention, 1)
    assert products == [(1, 138, DIM)]


@pytest.mark.skipif(not has_kernel("cpu"), reason="no compiled kernel")
def test_compiled_graphs_give_the_same_numbers(attention):
    """They project values first, whatever the sizes are."""
    memory = torch.randn(1, sum(h * w for h, w in MANY_CELLS), DIM)
    given = torch.randn(1, 5, DIM), torch.rand(1, 5, 3, 2), memory
    attention.eval()
    with torch.no_grad():
        expected = attention(*given, MANY_CELLS)
        program = torch.export.export(attention, (*given, MANY_CELLS))
        torch.testing.assert_close(program.module()(*given, MANY_CELLS), expected)
    products = [
        n for n in program.graph.nodes if "value_proj" in str(n.meta.get("nn_module_stack"))
    ]
    assert products
