"""EoMT: which layers have outputs, what learns, and one graph for the compiler."""

import pytest
import torch
from small_models import EOMT, VARIANTS, fill_by_rule, image, sample, small_model

from d2_psformer.d2.utils import EventStorage
from d2_psformer.utils.errors import UserError

NAMES = [name for name in VARIANTS if name.startswith("eomt")]
names = pytest.mark.parametrize("name", NAMES)
UNMASKED = {"MODEL.EOMT.MASK_ANNEALING": []}


def layers_of(model) -> int:
    images = model.normalizer([image(64, 96)]).tensor
    return model.predict(images).queries["queries"].num_layers


@names
def test_layers_that_have_outputs(name):
    """The last one, and those before each block that has masks."""
    model = small_model(**VARIANTS[name])
    assert layers_of(model.train()) == 3
    assert layers_of(model.eval()) == 1
    probabilities = {"annealing.probabilities": torch.tensor([0.0, 0.5])}
    model.load_state_dict(model.state_dict() | probabilities)
    assert layers_of(model.eval()) == 2


def test_an_empty_schedule():
    model = small_model(**EOMT | UNMASKED)
    losses = model([sample(64, 96, [0, 3])])
    assert sorted(losses) == ["loss_ce", "loss_dice", "loss_mask"]


def test_it_has_no_decoder_to_compute_again():
    with pytest.raises(UserError, match=r"CHECKPOINTING is 'pixel_decoder': use one of 'backbone'"):
        small_model(**EOMT | {"MODEL.CHECKPOINTING": ["pixel_decoder"]})


@names
def test_everything_learns(name):
    torch.manual_seed(0)
    model = fill_by_rule(small_model(**VARIANTS[name]))
    with EventStorage(3):
        losses = model([sample(64, 96, [0, 1, 3])])
    assert model.annealing.probabilities.tolist() == pytest.approx([0.5**0.9, 1])
    sum(losses.values()).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


@pytest.mark.slow  # test_segmenter.py compiles one variant
@names
@pytest.mark.parametrize("training", [False, True])
@torch.no_grad()
def test_the_network_is_one_graph(name, training):
    model = fill_by_rule(small_model(**VARIANTS[name])).train(training)
    compiled = torch.compile(model.predict, fullgraph=True, backend="eager")
    for size in ((64, 96), (96, 128)):
        images = model.normalizer([image(*size)]).tensor
        model.annealing.probabilities.fill_(1)  # nothing random
        expected, found = (f(images).queries["queries"] for f in (model.predict, compiled))
        torch.testing.assert_close(found.masks, expected.masks)
        torch.testing.assert_close(found.logits, expected.logits)
    torch.compiler.reset()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"MODEL.EOMT.QUERY_BLOCKS": 7}, r"QUERY_BLOCKS is 7: it must be at most the 6 blocks"),
        ({"MODEL.EOMT.MASK_ANNEALING": [[1, 2]]}, "one entry for each, or none"),
        ({"MODEL.BACKBONE.NAME": "TimmBackbone"}, r"MODEL\.BACKBONE\.NAME is 'TimmBackbone'"),
        ({"MODEL.POSTPROCESSING.MASK_THRESHOLD": 1.0}, "MASK_THRESHOLD is 1.0"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(UserError, match=message):
        small_model(**EOMT | options)
