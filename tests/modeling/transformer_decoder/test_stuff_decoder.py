"""One query a stuff class."""

import pytest
import torch
from torch import nn

from d2_psformer.modeling.outputs import SCORE
from d2_psformer.modeling.pixel_decoder import PixelFeatures
from d2_psformer.modeling.transformer_decoder import StuffDecoder

SHAPES = ((6, 8), (3, 4), (2, 3), (1, 2))
DIM = 32
IDS = (4, 0, 9, 7)


def random_features(batch: int = 2) -> PixelFeatures:
    length = sum(h * w for h, w in SHAPES)
    return PixelFeatures(torch.randn(batch, length, DIM), SHAPES, None, torch.ones(batch, 4, 2))


def make_decoder(**options) -> StuffDecoder:
    return StuffDecoder(class_ids=IDS, dim=DIM, heads=4, layers=3, class_prior=0.2, **options)


@pytest.fixture
def stuff():
    return make_decoder()


def test_every_class_is_predicted_after_every_block(stuff):
    outputs = stuff(random_features())
    assert [tuple(x.shape) for x in outputs.logits] == [(2, 4, 1)] * 3
    assert [tuple(x.shape) for x in outputs.masks] == [(2, 4, 6, 8)] * 4
    assert outputs.mask_kind == SCORE and outputs.classes.tolist() == [list(IDS)] * 2


def test_the_last_mask_alone(stuff):
    features = random_features()
    every, last = stuff(features), stuff(features, every_layer=False)
    assert len(last.masks) == 1 and len(last.logits) == 3
    torch.testing.assert_close(last.masks[0], every.masks[-1])


def test_masks_of_chosen_classes(stuff):
    features, rows = random_features(), torch.tensor([[2, 0], [3, 3]])
    every, chosen = stuff(features), stuff(features, mask_rows=rows)
    torch.testing.assert_close(chosen.logits, every.logits)
    for some, masks in zip(chosen.masks, every.masks, strict=True):
        torch.testing.assert_close(some, masks[torch.arange(2)[:, None], rows])


def test_early_exit_takes_class_and_mask_of_its_block(stuff):
    early = make_decoder(exit_after=2)
    early.load_state_dict(stuff.state_dict())
    features = random_features()
    every, stopped = stuff(features), early.eval()(features, every_layer=False)
    assert len(stopped.logits) == 2 and len(stopped.masks) == 1
    torch.testing.assert_close(stopped.logits[-1], every.logits[1])
    torch.testing.assert_close(stopped.masks[0], every.masks[1])


def test_a_query_is_content_then_position(stuff):
    features = random_features(1)
    content, position = stuff.query_embed.weight[None].split(DIM, dim=-1)
    masks, queries = stuff.mask_decoder(content, features, position)
    outputs = stuff(features)
    torch.testing.assert_close(outputs.masks[-1], masks[-1])
    torch.testing.assert_close(outputs.logits[1], stuff.class_embed[1](queries[1]))


def test_presence_starts_from_the_prior(stuff):
    for classify in stuff.class_embed:
        nn.init.zeros_(classify.weight)
    for logits in stuff(random_features()).logits:
        torch.testing.assert_close(logits.sigmoid(), torch.full_like(logits, 0.2))


def test_class_ids_are_no_part_of_a_checkpoint(stuff):
    assert not [key for key in stuff.state_dict() if "class_ids" in key]
