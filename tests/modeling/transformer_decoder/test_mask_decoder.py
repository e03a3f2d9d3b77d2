"""Mask decoders and their blocks, against torch's own."""

import pytest
import torch
from torch import nn

from d2_psformer.modeling.pixel_decoder import PixelFeatures
from d2_psformer.modeling.transformer_decoder import MaskDecoder
from d2_psformer.modeling.transformer_decoder.mask_decoder import MaskBlock

SHAPES = ((6, 8), (3, 4), (2, 3), (1, 2))
LENGTH = sum(h * w for h, w in SHAPES)
DIM, HEADS = 32, 4


def random_features(batch: int = 2) -> PixelFeatures:
    return PixelFeatures(torch.randn(batch, LENGTH, DIM), SHAPES, None, torch.ones(batch, 4, 2))


def make_decoder(**options) -> MaskDecoder:
    decoder = MaskDecoder(dim=DIM, heads=HEADS, **options)
    for name, parameter in decoder.named_parameters():
        nn.init.normal_(parameter, mean="norm" in name, std=0.3)
    return decoder


def test_block_equals_a_torch_decoder_layer():
    """Self-attention, cross-attention and feed-forward layer, each followed by its norm."""
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
    updated, _ = ours(query, tokens, SHAPES[:1], False, None)
    torch.testing.assert_close(updated, theirs(query, tokens), rtol=1e-5, atol=1e-5)


def test_shapes_and_range():
    masks, queries = make_decoder(layers=2)(torch.randn(2, 5, DIM), random_features())
    assert [tuple(m.shape) for m in masks] == [(2, 5, 6, 8)] * 3
    assert [tuple(q.shape) for q in queries] == [(2, 5, DIM)] * 2
    assert all((m >= 0).all() for m in masks)


def test_only_the_finest_levels_count():
    decoder, features = make_decoder(layers=1, num_levels=3), random_features()
    query = torch.randn(2, 5, DIM)
    expected, _ = decoder(query, features)
    features.tokens[:, -2:] = 99
    assert torch.equal(decoder(query, features)[0][-1], expected[-1])


def test_last_mask_alone_is_the_same():
    decoder, features, query = make_decoder(layers=2), random_features(), torch.randn(2, 5, DIM)
    every, _ = decoder(query, features)
    last, queries = decoder(query, features, every_layer=False)
    assert len(last) == 1 and len(queries) == 2
    torch.testing.assert_close(last[0], every[-1])


def test_masks_of_chosen_queries():
    decoder = make_decoder(layers=2, self_attention=True)
    features, query = random_features(), torch.randn(2, 5, DIM)
    rows = torch.tensor([[4, 1], [0, 3]])
    every, queries = decoder(query, features)
    chosen, all_queries = decoder(query, features, mask_rows=rows)
    torch.testing.assert_close(all_queries, queries)
    for some, masks in zip(chosen, every, strict=True):
        torch.testing.assert_close(
            some, torch.stack([m[r] for m, r in zip(masks, rows, strict=True)])
        )


def test_thing_queries_are_on_their_own_and_stuff_queries_are_not():
    features, query = random_features(), torch.randn(2, 5, DIM)
    for self_attention in (False, True):
        decoder = make_decoder(layers=2, self_attention=self_attention)
        together, _ = decoder(query, features)
        alone, _ = decoder(query[:, :1], features)
        same = torch.allclose(together[-1][:, :1], alone[-1], atol=1e-5)
        assert same != self_attention


def test_position_is_added_before_every_block_and_the_final_attention():
    features, query, position = random_features(), torch.randn(2, 5, DIM), torch.randn(2, 5, DIM)
    decoder = make_decoder(layers=2, self_attention=True)
    masks, queries = decoder(query, features, position)
    tokens, shapes = features.finest(3)
    for block, mask, expected in zip(decoder.blocks, masks, queries, strict=False):
        query, ours = block(query + position, tokens, shapes, True, None)
        torch.testing.assert_close(query, expected)
        torch.testing.assert_close(ours, mask)
    torch.testing.assert_close(decoder.final_attention(query + position, tokens, shapes), masks[-1])


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_early_exit_is_the_mask_of_that_block(stop):
    decoder = make_decoder(layers=3, exit_after=stop)
    query, features = torch.randn(2, 5, DIM), random_features()
    masks, queries = decoder(query, features)
    assert len(masks) == 4 and len(queries) == 3, "in training all blocks and the final attention"
    [last], early = decoder.eval()(query, features, every_layer=False)
    torch.testing.assert_close(last, masks[stop - 1])
    assert len(early) == stop
    torch.testing.assert_close(early, queries[:stop])


def test_without_blocks_the_final_attention_makes_the_mask():
    decoder, query, features = make_decoder(layers=0), torch.randn(2, 5, DIM), random_features()
    [mask], queries = decoder(query, features)
    assert queries == []
    torch.testing.assert_close(mask, decoder.final_attention(query, *features.finest(3)))


def test_recomputed_blocks_have_the_same_gradients():
    plain = make_decoder(layers=2, self_attention=True)
    recomputing = make_decoder(layers=2, self_attention=True, checkpointing=True)
    recomputing.load_state_dict(plain.state_dict())
    query, features = torch.randn(2, 5, DIM), random_features()
    for decoder in (plain, recomputing):
        masks, queries = decoder(query, features)
        sum(x.square().sum() for x in masks + queries).backward()
    for ours, theirs in zip(plain.parameters(), recomputing.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("seed", range(10))
def test_every_mask_head_is_alive_at_the_start(seed):
    """A head that starts all zero behind its ReLU would never learn."""
    torch.manual_seed(seed)
    decoder = MaskDecoder(dim=DIM, heads=HEADS, layers=4)
    masks, _ = decoder(torch.randn(1, 6, DIM), random_features(1))
    sum(m.sum() for m in masks).backward()
    heads = [*(b.cross_attn for b in decoder.blocks), decoder.final_attention]
    for mask, head in zip(masks, heads, strict=True):
        assert (mask > 0).float().mean() > 0.01
        assert head.mask_fc.weight.grad.any() and head.mask_fc.bias.grad.any()
        assert all(fc.weight.grad.any() for fc in head.level_fc)


def test_without_deep_supervision_masks_of_blocks_are_not_learned():
    decoder = make_decoder(layers=2, deep_supervision=False)
    [mask], _ = decoder(torch.randn(2, 5, DIM), random_features())
    mask.sum().backward()
    frozen = {n for n, p in decoder.named_parameters() if not p.requires_grad}
    assert frozen and all(".level_fc." in name or ".mask_fc." in name for name in frozen)
    assert {n for n, p in decoder.named_parameters() if p.grad is None} == frozen
    assert all(name.startswith("blocks.") for name in frozen)
