"""The terms of MaX-DeepLab's losses; their values are compared in tests of the golden numbers."""

from dataclasses import replace

import pytest
import torch
from small_slots import CLASSES, parts, slot_outputs, slot_targets, small_criterion

from d2_psformer.modeling.criterion import (
    InstanceDiscrimination,
    MaskId,
    PQStyle,
    SemanticEntropy,
)
from d2_psformer.modeling.criterion.cell_terms import mean_of_nonzero
from d2_psformer.modeling.criterion.cells import CellOutputs, CellTargets
from d2_psformer.utils.errors import UserError


def cells(target) -> CellTargets:
    truth = CellTargets.of(target, 4)
    return replace(truth, masks=truth.masks.double())


@pytest.mark.parametrize(
    ("term", "name"),
    [
        (PQStyle(1.0), "logits"),
        (PQStyle(1.0, 0.6, "constant"), "logits"),
        (PQStyle(1.0), "masks"),
        (MaskId(1.0), "masks"),
        (InstanceDiscrimination(1.0), "embedding"),
        (SemanticEntropy(1.0, 0.5, 3.0, 100), "pixel_logits"),
    ],
)
def test_gradients_are_those_of_finite_differences(term, name):
    """Classes and masks weigh each other in the PQ-style loss: such a weight has no gradient."""
    outputs, target = slot_outputs(1, slots=4), slot_targets(0, 3, 1)
    match = small_criterion().match(outputs, [target])[0]
    tensors = {key: x[0].detach().double() for key, x in parts(outputs).items()}
    tensors["embedding"] = tensors["embedding"].flatten(1)
    tensors["pixel_logits"] = tensors["pixel_logits"].flatten(1)

    def loss(tensor):
        values = tensors | {name: tensor}
        log_shares = values.pop("masks").flatten(1).log_softmax(0)
        losses = term.losses(CellOutputs(log_shares=log_shares, **values), cells(target), match)
        losses.pop("loss_pq_mask" if name == "logits" else "loss_pq_class", None)
        [only] = losses.values()
        return only

    assert torch.autograd.gradcheck(loss, tensors[name].requires_grad_())


def test_the_two_parts_of_the_pq_loss_have_gradients_of_their_own():
    outputs = slot_outputs(1)
    losses = small_criterion(PQStyle(1.0))(outputs, [slot_targets(0, 3, 1)])
    logits, masks = parts(outputs)["logits"], parts(outputs)["masks"]
    for name, own, other in (("class", logits, masks), ("mask", masks, logits)):
        loss = losses[f"loss_pq_{name}"]
        [gradient, none] = torch.autograd.grad(loss, [own, other], allow_unused=True)
        assert gradient.any() and none is None


def test_constant_weights_of_unmatched_slots():
    """Where all is void, all slots have the weight 1 - the positives' share."""
    outputs = slot_outputs(1)
    criterion = small_criterion(PQStyle(1.0, 0.6, "constant"))
    for target in (slot_targets(), replace(slot_targets(), sem_seg=torch.zeros(33, 49).long())):
        loss = criterion(outputs, [target])["loss_pq_class"]
        no_object = parts(outputs)["logits"].log_softmax(-1)[..., CLASSES]
        torch.testing.assert_close(loss, -0.4 * no_object.mean())


def test_mean_of_nonzero():
    losses = torch.tensor([0.0, 1.0, 0.0, 5.0])
    assert mean_of_nonzero(losses) == 3
    assert mean_of_nonzero(losses, 0.25) == 5
    assert mean_of_nonzero(losses, 0.75) == 3
    assert mean_of_nonzero(losses, 0.01) == 5
    assert mean_of_nonzero(losses[:1]) == mean_of_nonzero(losses[:1], 0.01) == 0


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: PQStyle(-1.0), "weight of PQStyle is -1"),
        (lambda: PQStyle(1.0, 1.5), "positive_share is 1.5"),
        (lambda: PQStyle(1.0, negative_weight="none"), "negative_weight is 'none'"),
        (lambda: MaskId(1.0, 1.5), "hardest is 1.5"),
        (lambda: MaskId(1.0, 0.0), "hardest is 0: to learn from no cell, set the weight"),
        (lambda: InstanceDiscrimination(1.0, temperature=0.0), "temperature is 0"),
        (lambda: SemanticEntropy(1.0, small_thing_weight=-1.0), "small_thing_weight is -1"),
    ],
)
def test_wrong_values_are_named(make, sentence):
    with pytest.raises(UserError, match=sentence):
        make()
