"""Attention whose scores are masks: the fusion against the paper's order, reading against torch."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from d2_psformer.modeling.transformer_decoder.mask_attention import (
    MaskAttention,
    MaskScores,
    select_queries,
)

SHAPES = ((6, 8), (3, 4), (2, 3))
DIM, HEADS = 32, 4


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_fusion_equals_resize_then_mix(levels):
    """The paper's order: resize every level's channels, concatenate them, mix them linearly."""
    attention = MaskScores(DIM, HEADS, levels).double()
    shapes = SHAPES[:levels]
    scores = torch.randn(2, HEADS, 5, sum(h * w for h, w in shapes), dtype=torch.float64)
    parts = []
    for x, fc, shape in zip(
        scores.split([h * w for h, w in shapes], -1), attention.level_fc, shapes, strict=True
    ):
        channels = fc(x.permute(0, 2, 3, 1)).relu()  # (B, N, h w, heads)
        maps = channels.permute(0, 1, 3, 2).reshape(2 * 5, HEADS, *shape)
        parts.append(F.interpolate(maps, shapes[0], mode="bilinear", align_corners=False))
    mixed = attention.mask_fc(torch.cat(parts, 1).permute(0, 2, 3, 1)).relu()
    expected = mixed[..., 0].unflatten(0, (2, 5))
    torch.testing.assert_close(attention.fuse(scores, shapes), expected)


def test_masks_are_made_of_the_scores():
    attention = MaskAttention(DIM, HEADS, 3)
    query, tokens = torch.randn(2, 5, DIM), torch.randn(2, 66, DIM)
    _, masks = attention(query, tokens, SHAPES)
    expected = attention.fuse(attention.scores(query, tokens), SHAPES)
    torch.testing.assert_close(masks, expected)
    alone = MaskScores(DIM, HEADS, 3)
    alone.load_state_dict(attention.state_dict(), strict=False)
    torch.testing.assert_close(alone(query, tokens, SHAPES), expected)
    assert (masks >= 0).all() and masks.shape == (2, 5, 6, 8)


def _like_torch(ours: MaskAttention) -> nn.MultiheadAttention:
    theirs = nn.MultiheadAttention(DIM, HEADS, batch_first=True).double()
    projections = [ours.q_proj, ours.k_proj, ours.v_proj]
    with torch.no_grad():
        for projection in projections:
            nn.init.normal_(projection.bias)
        theirs.in_proj_weight.copy_(torch.cat([p.weight for p in projections]))
        theirs.in_proj_bias.copy_(torch.cat([p.bias for p in projections]))
        theirs.out_proj.load_state_dict(ours.out_proj.state_dict())
    return theirs


@pytest.mark.parametrize("queries", [1, 5, 40])
def test_attention_equals_torch(queries):
    ours = MaskAttention(DIM, HEADS, 1).double()
    theirs = _like_torch(ours)
    query = torch.randn(2, queries, DIM, dtype=torch.float64)
    tokens = torch.randn(2, 12, DIM, dtype=torch.float64)
    expected, weights = theirs(query, tokens, tokens, average_attn_weights=False)
    read, masks = ours(query, tokens, ((3, 4),), make_mask=False)
    assert masks is None
    torch.testing.assert_close(read, expected)
    torch.testing.assert_close(ours.scores(query, tokens).softmax(-1), weights)


@settings(deadline=None, max_examples=20)
@given(
    heads=st.sampled_from([1, 2, 4]),
    queries=st.integers(1, 12),
    chosen=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_masks_and_gradients_of_chosen_queries_are_those_of_all(heads, queries, chosen, seed):
    torch.manual_seed(seed)
    attention = MaskAttention(8, heads, 2).double()
    for parameter in attention.parameters():
        nn.init.normal_(parameter)
    shapes, tokens = ((4, 3), (2, 2)), torch.randn(2, 16, 8, dtype=torch.float64)
    query = torch.randn(2, queries, 8, dtype=torch.float64)
    rows = torch.randint(queries, (2, chosen))
    leaves = [query.requires_grad_(), tokens.requires_grad_(), *attention.parameters()]
    results, gradients = [], []
    for mask_rows in (None, rows):
        read, masks = attention(query, tokens, shapes, mask_rows=mask_rows)
        if mask_rows is None:
            masks = torch.stack([m[r] for m, r in zip(masks, rows, strict=True)])
        results.append((read, masks))
        total = read.square().sum() + masks.square().sum()
        gradients.append(torch.autograd.grad(total, leaves))
    torch.testing.assert_close(*results)
    torch.testing.assert_close(*gradients)


def test_rows_of_queries():
    rows = torch.tensor([[3, 0, 3], [1, 1, 2]])
    query = torch.randn(2, 4, 5)
    assert torch.equal(select_queries(query, rows), query[torch.arange(2)[:, None], rows])
    assert select_queries(query, None) is query
    heads = torch.randn(2, 6, 4, 5)  # (B, heads, N, d)
    assert torch.equal(select_queries(heads, rows)[1, 2], heads[1, 2, rows[1]])
