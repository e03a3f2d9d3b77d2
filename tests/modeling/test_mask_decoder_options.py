"""Mask decoders that leave out padding, stop early, or have one mask; queries that are learned."""

import pytest
import torch
from torch import nn

from d2_psformer.modeling.pixel_decoder import Memory
from d2_psformer.modeling.transformer_decoder import (
    ClassifyingMaskDecoder,
    LearnedQueries,
    MaskDecoder,
)

SHAPES = ((6, 8), (3, 4), (2, 3), (1, 2))
DIM, HEADS = 32, 4


def make_decoder(kind=MaskDecoder, **options) -> MaskDecoder:
    decoder = kind(dim=DIM, num_heads=HEADS, **options)
    for name, parameter in decoder.named_parameters():
        nn.init.normal_(parameter, mean="norm" in name, std=0.3)
    return decoder


def padded_memory(fill: float | None = None) -> Memory:
    """Of two images, the second with padding right and below; ``fill`` is put into the padding."""
    torch.manual_seed(3)
    padding = []
    for height, width in SHAPES:
        mask = torch.zeros(2, height, width, dtype=torch.bool)
        mask[1, :, (width + 1) // 2 :] = True
        mask[1, height - height // 3 :] = True
        padding.append(mask.flatten(1))
    padding = torch.cat(padding, dim=1)
    tokens = torch.randn(2, padding.shape[1], DIM)
    if fill is not None:
        tokens[padding] = fill
    return Memory(tokens, SHAPES, padding, torch.ones(2, 4, 2))


@pytest.mark.parametrize("ignore", [True, False])
def test_what_lies_in_the_padding_matters_only_without_a_mask(ignore):
    decoder = make_decoder(num_layers=2, ignore_padding=ignore)
    query = torch.randn(2, 5, DIM)
    clean, noisy = (decoder(query, padded_memory(fill)) for fill in (None, 9.0))
    same = [torch.allclose(a, b, atol=1e-5) for a, b in zip(clean[1], noisy[1], strict=True)]
    assert same == [ignore] * 2
    padding = padded_memory().padding_mask[:, :48].view(2, 1, 6, 8)
    for mask, other in zip(clean[0], noisy[0], strict=True):
        if ignore:
            torch.testing.assert_close(mask, other, rtol=1e-4, atol=1e-5)
        assert (mask.masked_select(padding) == 0).all() == ignore
        assert mask.masked_select(~padding).any()


def test_ignoring_padding_changes_nothing_where_there_is_none():
    plain = make_decoder(num_layers=2)
    ignoring = make_decoder(num_layers=2, ignore_padding=True)
    ignoring.load_state_dict(plain.state_dict())
    query, memory = torch.randn(2, 5, DIM), padded_memory()
    first, _ = plain(query, memory)
    second, _ = ignoring(query, memory)
    torch.testing.assert_close(first[-1][:1], second[-1][:1])
    without = Memory(memory.tokens, SHAPES, None, memory.valid_ratios)
    torch.testing.assert_close(plain(query, without)[0][-1], ignoring(query, without)[0][-1])


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_early_exit_is_the_mask_of_that_block(stop):
    decoder = make_decoder(num_layers=3, exit_after=stop)
    query, memory = torch.randn(2, 5, DIM), padded_memory()
    masks, queries = decoder(query, memory)
    assert len(masks) == 4 and len(queries) == 3, "in training all blocks and the tail"
    [last], early = decoder(query, memory, every_mask=False)
    torch.testing.assert_close(last, masks[stop - 1])
    assert len(early) == stop
    torch.testing.assert_close(early, queries[:stop])


def test_the_tail_alone_makes_a_mask():
    whole, tail_only = make_decoder(num_layers=2), make_decoder(num_layers=2, block_masks=False)
    left_out = tail_only.load_state_dict(whole.state_dict(), strict=False).unexpected_keys
    assert left_out and all(".level_fc." in key or ".mask_fc." in key for key in left_out)
    query, memory = torch.randn(2, 5, DIM), padded_memory()
    [last], queries = tail_only(query, memory)
    masks, expected = whole(query, memory)
    torch.testing.assert_close(last, masks[-1])
    torch.testing.assert_close(queries, expected)


def test_one_classifier_for_all_blocks_starts_from_the_prior():
    decoder = ClassifyingMaskDecoder(
        num_classes=6, class_prior=0.2, dim=DIM, num_heads=HEADS, num_layers=3
    )
    assert all(block.self_attn is not None for block in decoder.blocks), "queries see each other"
    _, queries = decoder(torch.randn(2, 5, DIM), padded_memory())
    logits = decoder.classify(queries)
    assert logits.shape == (3, 2, 5, 6)
    torch.testing.assert_close(logits[1], decoder.class_embed(queries[1]))
    nn.init.zeros_(decoder.class_embed.weight)
    probabilities = decoder.classify(queries).sigmoid()
    torch.testing.assert_close(probabilities, torch.full_like(probabilities, 0.2))


def test_learned_queries_are_the_same_for_every_image():
    queries = LearnedQueries(dim=DIM, num_queries=7)
    found = queries(padded_memory())
    assert found.queries.shape == (1, 2, 7, DIM) and found.position.shape == (2, 7, DIM)
    assert found.logits is None and found.boxes is None
    content, position = queries.query_embed.weight.split(DIM, dim=-1)
    assert torch.equal(found.queries[0, 1], content) and torch.equal(found.position[0], position)
