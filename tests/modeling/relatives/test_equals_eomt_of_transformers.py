"""EoMT with the weights of transformers' computes the same, with DINOv2 and with DINOv3."""

import pytest
import torch
from eomt_pairs import CASES, QUERY_BLOCKS, SIDE, build
from official_points import official_points
from small_models import image, sample
from torch import nn

from d2_psformer.checkpoint import convert

cases = pytest.mark.parametrize("case", CASES)


def with_probability(case: str, probability: float) -> tuple[nn.Module, nn.Module]:
    """Both models, the masks of attention as they are with this probability."""
    theirs, ours = build(case)
    theirs.attn_mask_probs.fill_(probability)
    ours.load_state_dict(convert(theirs.state_dict(), "hf-eomt"))
    return theirs, ours


def every_layer(theirs: nn.Module, images: torch.Tensor) -> list[tuple]:
    """Masks and logits of all layers; transformers' model returns those of the last one alone."""
    layers, predict = [], theirs.predict
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(theirs, "predict", lambda x: layers.append(predict(x)) or layers[-1])
        theirs(images)
    return layers


def assert_close(found: torch.Tensor, expected: torch.Tensor) -> None:
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


@cases
@pytest.mark.parametrize("probability", [0.0, 1.0], ids=["unmasked", "masked"])
@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@torch.no_grad()
def test_classes_and_masks_of_every_layer_are_equal(case, probability, training):
    """Images of two sizes: neither network leaves the padding out."""
    theirs, ours = with_probability(case, probability)
    images = ours.normalizer([image(SIDE, 80, seed=1), image(70, SIDE, seed=2)]).tensor
    assert images.shape[-2:] == (SIDE, SIDE)
    for model in (theirs, ours):
        model.train(training)
    expected = every_layer(theirs, images)
    outputs = ours.predict(images).queries["queries"]
    for model in (theirs, ours):
        model.eval()
    assert len(expected) == (QUERY_BLOCKS + 1 if training or probability else 1)
    for found, layer in zip(zip(outputs.masks, outputs.logits, strict=True), expected, strict=True):
        assert_close(found[0], layer[0])
        assert_close(found[1], layer[1])
    assert outputs.masks[-1].std(1).mean() > 0.01 * outputs.masks[-1].std(), "queries differ"
    closed = [bool((m <= 0).any() and (m > 0).any()) for m in outputs.masks]
    assert all(closed), "masks close something, and not all"


@torch.no_grad()
def test_rescaled_rotary_positions_are_equal(monkeypatch):
    """In training alone; both draw one number a batch."""
    theirs, ours = build("DINOv3")
    monkeypatch.setattr(theirs.config, "pos_embed_rescale", 2.0)
    monkeypatch.setattr(ours.backbone, "rotary_rescale", 2.0)
    images, found = torch.zeros(1, 3, SIDE, 64), {}
    for training in (True, False):
        rotated = []
        for model in (theirs, ours):
            model.train(training)
            torch.manual_seed(5)
            if model is ours:
                sine, cosine = ours.backbone.rotary((SIDE // 16, 4)).chunk(2, dim=-1)
            else:
                cosine, sine = theirs.rope_embeddings(images)
            rotated.append((sine, cosine))
        torch.testing.assert_close(*rotated)
        found[training] = rotated[1]
    assert not torch.allclose(found[True][0], found[False][0])


@cases
def test_losses_are_equal(case):
    """With the same random points; transformers gives the sum over the layers alone."""
    theirs, ours = with_probability(case, 1.0)
    samples = [sample(SIDE, SIDE, [0, 2, 4], seed=1), sample(70, SIDE, [1, 3], seed=2)]
    batch = ours.normalizer([x["image"] for x in samples])
    targets = ours.targets(samples, batch)
    labels = {
        "mask_labels": [target.masks.float() for target in targets],
        "class_labels": [target.classes for target in targets],
    }
    draws, rand = [], torch.rand
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "rand", lambda *a, **k: draws.append(rand(*a, **k)) or draws[-1])
        expected = theirs(batch.tensor, **labels).loss
    queries = ours.predict(batch.tensor).queries["queries"]
    numbers = {"images": len(samples), "layers": QUERY_BLOCKS + 1, "last_first": False}
    with official_points(ours.criterion, lambda index, _: draws[index], **numbers):
        losses = ours.criterion(queries, targets)
    assert len(losses) == 3 * (QUERY_BLOCKS + 1)
    assert float(sum(losses.values()).detach()) == pytest.approx(float(expected.detach()), rel=1e-4)
