"""Masks from attention: the fast fusion against the plain one, the blocks against torch's own."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from d2_psformer.modeling.pixel_decoder import Memory
from d2_psformer.modeling.transformer_decoder import MaskDecoder, StuffDecoder
from d2_psformer.modeling.transformer_decoder.mask_attention import MaskAttention
from d2_psformer.modeling.transformer_decoder.mask_decoder import MaskBlock

SHAPES = ((6, 8), (3, 4), (2, 3), (1, 2))
LENGTH = sum(h * w for h, w in SHAPES)
DIM, HEADS = 32, 4


def random_memory(batch: int = 2) -> Memory:
    tokens = torch.randn(batch, LENGTH, DIM)
    return Memory(tokens, SHAPES, torch.zeros(batch, LENGTH).bool(), torch.ones(batch, 4, 2))


def make_decoder(**options) -> MaskDecoder:
    decoder = MaskDecoder(dim=DIM, num_heads=HEADS, **options)
    for name, parameter in decoder.named_parameters():
        nn.init.normal_(parameter, mean="norm" in name, std=0.3)
    return decoder


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_fusion_equals_resize_then_mix(levels):
    """The paper's order: resize every level's channels, concatenate them, mix them linearly."""
    attention = MaskAttention(DIM, HEADS, levels, values=False)
    shapes = SHAPES[:levels]
    scores = torch.randn(2, HEADS, 5, sum(h * w for h, w in shapes))
    parts = []
    for x, fc, shape in zip(
        scores.split([h * w for h, w in shapes], -1), attention.level_fc, shapes, strict=True
    ):
        channels = fc(x.permute(0, 2, 3, 1)).relu()  # (B, N, h w, heads)
        maps = channels.permute(0, 1, 3, 2).reshape(2 * 5, HEADS, *shape)
        parts.append(F.interpolate(maps, shapes[0], mode="bilinear", align_corners=False))
    mixed = attention.mask_fc(torch.cat(parts, 1).permute(0, 2, 3, 1)).relu()
    expected = mixed[..., 0].unflatten(0, (2, 5))
    torch.testing.assert_close(attention.fuse(scores, shapes), expected, rtol=1e-5, atol=1e-6)


def _like_torch(ours: MaskAttention) -> nn.MultiheadAttention:
    theirs = nn.MultiheadAttention(DIM, HEADS, batch_first=True).to(ours.q_proj.weight.dtype)
    projections = [ours.q_proj, ours.k_proj, ours.v_proj]
    with torch.no_grad():
        for projection in projections:
            nn.init.normal_(projection.bias)
        theirs.in_proj_weight.copy_(torch.cat([p.weight for p in projections]))
        theirs.in_proj_bias.copy_(torch.cat([p.bias for p in projections]))
        theirs.out_proj.load_state_dict(ours.out_proj.state_dict())
    return theirs


@pytest.mark.parametrize("queries", [1, 5, 10, 11, 40])  # up to 10 the projections go to them
@pytest.mark.parametrize("padded", [False, True])
def test_attention_equals_torch(queries, padded):
    ours = MaskAttention(DIM, HEADS, 1, values=True)
    theirs = _like_torch(ours)
    query, tokens = torch.randn(2, queries, DIM), torch.randn(2, 12, DIM)
    padding = None
    if padded:
        padding = torch.rand(2, 12) < 0.4
        padding[:, 0] = False
    expected, weights = theirs(
        query, tokens, tokens, key_padding_mask=padding, average_attn_weights=False
    )
    read, _ = ours(query, tokens, [(3, 4)], padding=padding)
    torch.testing.assert_close(read, expected, rtol=1e-5, atol=1e-6)
    if not padded:
        scores = ours.scores(query, tokens)
        torch.testing.assert_close(scores.softmax(-1), weights, rtol=1e-5, atol=1e-6)


@settings(deadline=None, max_examples=20)
@given(
    heads=st.sampled_from([1, 2, 4]),
    queries=st.integers(1, 12),
    chosen=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_few_queries_and_many_give_the_same(heads, queries, chosen, seed):
    """Alone, or beside as many others that projecting the memory is less work."""
    torch.manual_seed(seed)
    attention = MaskAttention(8, heads, 2, values=True).double()
    for parameter in attention.parameters():
        nn.init.normal_(parameter)
    shapes, tokens = [(4, 3), (2, 2)], torch.randn(2, 16, 8, dtype=torch.float64)
    few = torch.randn(2, queries, 8, dtype=torch.float64)
    rows = torch.randint(queries, (2, chosen))
    leaves = [few.requires_grad_(), tokens.requires_grad_(), *attention.parameters()]
    many = torch.cat([few, torch.randn(2, 40, 8, dtype=torch.float64)], dim=1)
    results, gradients = [], []
    for query in (few, many):
        read, masks = attention(query, tokens, shapes, rows=rows)
        results.append((read[:, :queries], masks))
        total = results[-1][0].square().sum() + masks.square().sum()
        gradients.append(torch.autograd.grad(total, leaves))
    torch.testing.assert_close(*results)
    torch.testing.assert_close(*gradients)


def test_block_equals_a_torch_decoder_layer():
    """Self-attention, cross-attention, perceptron, each followed by its norm."""
    ours = MaskBlock(DIM, HEADS, 1, self_attention=True)
    theirs = nn.TransformerDecoderLayer(
        DIM, HEADS, 4 * DIM, dropout=0.0, activation="gelu", layer_norm_eps=1e-6, batch_first=True
    )
    for mine, other in [
        (ours.self_attn, theirs.self_attn),
        (ours.self_norm, theirs.norm1),
        (ours.cross_attn.out_proj, theirs.multihead_attn.out_proj),
        (ours.cross_norm, theirs.norm2),
        (ours.ffn.linear1, theirs.linear1),
        (ours.ffn.linear2, theirs.linear2),
        (ours.ffn.norm, theirs.norm3),
    ]:
        other.load_state_dict(mine.state_dict())
    projections = [getattr(ours.cross_attn, f"{x}_proj") for x in "qkv"]
    with torch.no_grad():
        theirs.multihead_attn.in_proj_weight.copy_(torch.cat([p.weight for p in projections]))
        theirs.multihead_attn.in_proj_bias.copy_(torch.cat([p.bias for p in projections]))
    query, tokens = torch.randn(2, 5, DIM), torch.randn(2, 48, DIM)
    updated, _ = ours(query, tokens, SHAPES[:1], False)
    torch.testing.assert_close(updated, theirs(query, tokens), rtol=1e-5, atol=1e-5)


def test_shapes_and_range():
    masks, queries = make_decoder(num_layers=2)(torch.randn(2, 5, DIM), random_memory())
    assert [tuple(m.shape) for m in masks] == [(2, 5, 6, 8)] * 3
    assert [tuple(q.shape) for q in queries] == [(2, 5, DIM)] * 2
    assert all((m >= 0).all() for m in masks)


def test_only_the_finest_levels_count():
    decoder, memory = make_decoder(num_layers=1, num_levels=3), random_memory()
    query = torch.randn(2, 5, DIM)
    expected, _ = decoder(query, memory)
    memory.tokens[:, -2:] = 99
    assert torch.equal(decoder(query, memory)[0][-1], expected[-1])


def test_last_mask_alone_is_the_same():
    decoder, memory, query = make_decoder(num_layers=2), random_memory(), torch.randn(2, 5, DIM)
    every, _ = decoder(query, memory)
    last, queries = decoder(query, memory, every_mask=False)
    assert len(last) == 1 and len(queries) == 2
    torch.testing.assert_close(last[0], every[-1])


def test_masks_of_chosen_queries():
    decoder = make_decoder(num_layers=2, self_attention=True)
    memory, query = random_memory(), torch.randn(2, 5, DIM)
    rows = torch.tensor([[4, 1], [0, 3]])
    every, queries = decoder(query, memory)
    chosen, all_queries = decoder(query, memory, rows=rows)
    torch.testing.assert_close(all_queries, queries)
    for some, masks in zip(chosen, every, strict=True):
        torch.testing.assert_close(
            some, torch.stack([m[r] for m, r in zip(masks, rows, strict=True)])
        )


def test_thing_queries_are_on_their_own_and_stuff_queries_are_not():
    memory, query = random_memory(), torch.randn(2, 5, DIM)
    for self_attention in (False, True):
        decoder = make_decoder(num_layers=2, self_attention=self_attention)
        together, _ = decoder(query, memory)
        alone, _ = decoder(query[:, :1], memory)
        same = torch.allclose(together[-1][:, :1], alone[-1], atol=1e-5)
        assert same != self_attention


def test_position_joins_the_residual_stream_before_every_block_and_the_tail():
    memory, query, position = random_memory(), torch.randn(2, 5, DIM), torch.randn(2, 5, DIM)
    decoder = make_decoder(num_layers=2, self_attention=True)
    masks, queries = decoder(query, memory, position)
    for block, mask, expected in zip(decoder.blocks, masks, queries, strict=False):
        query, ours = block(query + position, memory.finest(3), SHAPES[:3], True)
        torch.testing.assert_close(query, expected)
        torch.testing.assert_close(ours, mask)
    tail = decoder.tail.fuse(decoder.tail.scores(query + position, memory.finest(3)), SHAPES[:3])
    torch.testing.assert_close(tail, masks[-1])


@pytest.mark.parametrize("seed", range(10))
def test_every_mask_head_is_alive_at_the_start(seed):
    """A head that starts all zero behind its ReLU would never learn."""
    torch.manual_seed(seed)
    decoder = MaskDecoder(dim=DIM, num_heads=HEADS, num_layers=4)
    masks, _ = decoder(torch.randn(1, 6, DIM), random_memory(1))
    sum(m.sum() for m in masks).backward()
    heads = [*(b.cross_attn for b in decoder.blocks), decoder.tail]
    for mask, head in zip(masks, heads, strict=True):
        assert (mask > 0).float().mean() > 0.01
        assert head.mask_fc.weight.grad.any() and head.mask_fc.bias.grad.any()
        assert all(fc.weight.grad.any() for fc in head.level_fc)


@pytest.fixture
def stuff():
    return StuffDecoder(num_classes=7, dim=DIM, num_heads=HEADS, num_layers=3, class_prior=0.2)


def test_stuff_decoder_predicts_every_class_after_every_block(stuff):
    predictions = stuff(random_memory())
    assert predictions.logits.shape == (3, 2, 7)
    assert [tuple(m.shape) for m in predictions.masks] == [(2, 7, 6, 8)] * 4
    assert len(stuff(random_memory(), every_mask=False).masks) == 1


def test_stuff_query_is_content_then_position(stuff):
    memory = random_memory(1)
    content, position = stuff.query_embed.weight[None].split(DIM, dim=-1)
    masks, queries = stuff.mask_decoder(content, memory, position)
    predictions = stuff(memory)
    torch.testing.assert_close(predictions.masks[-1], masks[-1])
    torch.testing.assert_close(
        predictions.logits[1, 0], stuff.class_embed[1](queries[1])[0].squeeze(-1)
    )


def test_stuff_presence_starts_from_the_prior(stuff):
    for classify in stuff.class_embed:
        nn.init.zeros_(classify.weight)
    logits = stuff(random_memory()).logits
    torch.testing.assert_close(logits.sigmoid(), torch.full_like(logits, 0.2))
