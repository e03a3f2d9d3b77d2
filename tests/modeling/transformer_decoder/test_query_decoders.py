"""The transformer decoders of MaskFormer and Mask2Former."""

import pytest
import torch
import torch.nn.functional as F

from d2_psformer.modeling.pixel_decoder import PixelFeatures
from d2_psformer.modeling.transformer_decoder import DetrDecoder, MaskedAttentionDecoder
from d2_psformer.modeling.transformer_decoder.mask_heads import multiply
from d2_psformer.modeling.transformer_decoder.masked_attention_decoder import outside

SHAPES = ((8, 12), (4, 6), (2, 3))
OPTIONS = {
    "num_classes": 5,
    "dim": 16,
    "mask_dim": 12,
    "num_queries": 7,
    "layers": 4,
    "heads": 4,
    "dim_feedforward": 32,
    "dropout": 0.0,
}


def features(num_levels: int) -> PixelFeatures:
    shapes = SHAPES[-num_levels:]
    tokens = torch.randn(2, sum(h * w for h, w in shapes), 16)
    return PixelFeatures.unpadded(tokens, shapes, torch.randn(2, 12, 16, 24))


def decoder(kind: type, **options):
    options = OPTIONS | options
    if kind is MaskedAttentionDecoder:
        options["num_levels"] = 3
    return kind(**options).eval()


BOTH = pytest.mark.parametrize("kind", [DetrDecoder, MaskedAttentionDecoder])
LEVELS = {DetrDecoder: 1, MaskedAttentionDecoder: 3}


@BOTH
@torch.no_grad()
def test_every_layer_and_the_last_one_alone(kind):
    model, pixels = decoder(kind), features(LEVELS[kind])
    every, last = model(pixels), model(pixels, every_layer=False)
    predictions = 5 if kind is MaskedAttentionDecoder else 4
    assert len(every.logits) == len(every.masks) == predictions
    assert len(last.logits) == len(last.masks) == 1
    assert torch.equal(every.logits[-1], last.logits[0])
    assert torch.equal(every.masks[-1], last.masks[0])
    assert last.logits[0].shape == (2, 7, 6) and last.masks[0].shape == (2, 7, 16, 24)


@BOTH
@torch.no_grad()
def test_the_order_of_the_queries_does_not_matter(kind):
    model, pixels = decoder(kind), features(LEVELS[kind])
    expected = model(pixels)
    order = torch.randperm(7)
    for name, parameter in model.named_parameters():
        if name in ("query_embed.weight", "query_feat.weight"):
            parameter.copy_(parameter[order])
    found = model(pixels)
    torch.testing.assert_close(found.logits[-1], expected.logits[-1][:, order])
    torch.testing.assert_close(found.masks[-1], expected.masks[-1][:, order])


def test_queries_that_stand_for_classes_have_no_classifier():
    model = decoder(DetrDecoder, num_classes=None)
    outputs = model(features(1))
    assert not outputs.logits and len(outputs.masks) == 4


def test_a_query_reads_inside_its_mask_or_everywhere():
    mask_features = torch.tensor([[[[1.0, -1.0], [1.0, -2.0]]]])
    blocked = outside(torch.tensor([[[1.0], [-1.0], [0.0]]]), mask_features)
    assert blocked.tolist() == [
        [[False, True, False, True], [True, False, True, False], [False] * 4]
    ]
    nowhere = outside(torch.tensor([[[1.0]]]), -mask_features.abs())
    assert nowhere.tolist() == [[[False] * 4]], "an empty mask blocks nothing"


def test_masks_of_resized_features_are_resized_masks():
    embeddings, pixels = torch.randn(2, 7, 12).double(), torch.randn(2, 12, 16, 24).double()
    for shape in SHAPES:
        resized = F.interpolate(pixels, shape, mode="bilinear")
        masks = F.interpolate(multiply(embeddings, pixels), shape, mode="bilinear")
        torch.testing.assert_close(multiply(embeddings, resized), masks)


def test_masked_attention_reads_the_coarsest_level_first():
    """With one layer, the finer levels do not reach the queries."""
    model, pixels = decoder(MaskedAttentionDecoder, layers=1), features(3)
    pixels.tokens.requires_grad_()
    model(pixels).logits[-1].sum().backward()
    finer, coarsest = pixels.tokens.grad.split([8 * 12 + 4 * 6, 2 * 3], dim=1)
    assert not finer.any() and coarsest.any()


def test_attention_masks_carry_no_gradient_to_earlier_predictions():
    """The first mask head is used by the first prediction and not by the last."""
    model, pixels = decoder(MaskedAttentionDecoder, layers=1), features(3)
    model(pixels).logits[-1].sum().backward()
    assert all(p.grad is None for p in model.mask_heads.mask_embed.parameters())


def test_cross_attention_comes_first_in_mask2former():
    """The values of DETR's first self-attention are zeros; Mask2Former's queries have read."""
    detr, masked = decoder(DetrDecoder), decoder(MaskedAttentionDecoder)
    assert not any(layer.cross_first for layer in detr.layers)
    assert all(layer.cross_first for layer in masked.layers)
    layer = masked.layers[0]
    query, position, key = torch.randn(3, 2, 7, 16)
    read = layer.cross_norm(query + layer.cross_attn(query + position, key, key))
    located = read + position
    exchanged = layer.self_norm(read + layer.self_attn(located, located, read))
    torch.testing.assert_close(layer(query, position, key, key), layer.ffn(exchanged))


@BOTH
def test_layers_computed_again_give_the_same_gradients(kind):
    pixels, gradients = features(LEVELS[kind]), []
    for checkpointing in (False, True):
        torch.manual_seed(3)
        model = decoder(kind, checkpointing=checkpointing).train()
        outputs = model(pixels)
        sum(x.square().mean() for x in (*outputs.logits, *outputs.masks)).backward()
        gradients.append({n: p.grad for n, p in model.named_parameters()})
    torch.testing.assert_close(*gradients)
