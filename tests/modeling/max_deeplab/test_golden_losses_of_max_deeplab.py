"""Losses, matches and gradients of MaX-DeepLab against deeplab2's numbers.

The gradient is the exact one (``grad_exact``): TensorFlow's differs where the target of a
cross-entropy does not sum to one.
"""

import math

import numpy as np
import pytest
import torch
from golden_loss_cases import LOSSES, LossCase, read_cases

from d2_psformer.modeling.criterion import IGNORE, SemanticEntropy, Targets
from d2_psformer.modeling.criterion.cells import CellOutputs, CellTargets

# What differs where there are more segments than slots: the reference gives those that are left
# over to slots that do not exist, and adds their classes to the one of slot 0.
LEFT_OUT = {"loss_pq_class", "loss_mask_id"}


@pytest.fixture(scope="module")
def cases(reference_max_deeplab) -> list[LossCase]:
    return read_cases(reference_max_deeplab)


def test_golden_matches(cases):
    for case in cases:
        matches = case.criterion.match(case.outputs(), case.targets)
        for (queries, segments), official in zip(matches, case.tensor("match/slot"), strict=True):
            ours = torch.full(official.shape, -1)
            ours[segments] = queries
            assert torch.equal(ours, official.long()), case.name


def test_golden_losses_of_every_image(cases):
    for case, image in [(x, image) for x in cases for image in x.images]:
        losses = case.criterion(case.outputs(slice(image, image + 1)), [case.targets[image]])
        assert set(losses) == set(LOSSES)
        for name in set(LOSSES) - (LEFT_OUT if case.has_left_over_segments else set()):
            official = float(case.tensor(f"loss/{LOSSES[name]}")[image])
            # A left-over segment has a weight of 1e-5 in the reference.
            tolerance = 1e-4 if case.has_left_over_segments else 1e-5
            near = pytest.approx(official, rel=tolerance, abs=1e-7)
            assert float(losses[name].detach()) == near, (case.name, image, name)


def test_golden_gradients(cases):
    for case in cases:
        ours = gradients(case)
        official = {name: case.gradient(name) for name in ours}
        if case.has_left_over_segments:
            for found in ours, official:
                del found["mask_logits"]
                found["class_logits"] = found["class_logits"][:, 1:]
        assert_near(ours, official, case.name)


def test_golden_gradients_of_tensorflow(cases):
    """Ours, and a push away from all slots at the cells of crowds, whose loss is 0."""
    for case in cases:
        if case.has_left_over_segments:
            continue
        ours = gradients(case)
        # With a top k, a loss of 0 is none of the largest.
        weight = case.config["weights"]["mask_id_cross_entropy"] * (
            case.config["top_k_percent"] == 1
        )
        shares = case.predicted["mask_logits"].detach().softmax(-1)
        for image, target in enumerate(case.targets):
            in_segment, semantic = (
                x[:: case.stride, :: case.stride] for x in (target.masks.any(0), target.semantic)
            )
            crowd = (semantic != IGNORE) & ~in_segment
            push = weight * crowd[..., None] * shares[image] / in_segment.sum().clamp(min=1)
            ours["mask_logits"][image] += push
        assert_near(ours, {name: case.tensor(f"grad/{name}") for name in ours}, case.name)


def gradients(case: LossCase) -> dict[str, torch.Tensor]:
    """Of the sum of all losses of all images."""
    total = len(case.images) * sum(case.criterion(case.outputs(), case.targets).values())
    found = torch.autograd.grad(total, list(case.predicted.values()))
    return dict(zip(case.predicted, found, strict=True))


def assert_near(ours: dict, official: dict, case: str) -> None:
    """The largest difference is at most 1e-5 of the largest value."""
    assert ours.keys() == official.keys()
    for name, expected in official.items():
        assert ours[name].shape == expected.shape
        error = (ours[name] - expected).abs().max()
        assert error <= 1e-5 * expected.abs().max(), (case, name)


def test_golden_segments_that_are_left_over(cases):
    """Ours leave them out; the reference gives them to slots whose logit is -99999."""
    [case] = [case for case in cases if case.has_left_over_segments]
    [target], [(_, segments)] = case.targets, case.criterion.match(case.outputs(), case.targets)
    masks = target.masks[:, :: case.stride, :: case.stride]
    rest = masks.any(0) & ~masks[segments].any(0)
    assert rest.any()
    ours = case.criterion(case.outputs(), case.targets)["loss_mask_id"] * masks[segments].sum()
    entropies = case.predicted["mask_logits"][0].logsumexp(-1)[rest] + 99999
    expected = ours + case.config["weights"]["mask_id_cross_entropy"] * entropies.sum()
    official = case.tensor(f"loss/{LOSSES['loss_mask_id']}")[0]
    torch.testing.assert_close((expected / masks.any(0).sum()).detach(), official)


def test_golden_weights_of_small_things(reference_max_deeplab):
    """Those that the reference's data have: 3 for things of fewer than 500 pixels."""
    with np.load(reference_max_deeplab / "data_cases.npz") as arrays:
        cases = {key.partition("/")[0] for key in arrays.files}
        for case in cases:
            semantic, things, weights = (
                torch.from_numpy(arrays[f"{case}/out/{name}"])
                for name in ("semantic_gt", "thing_id_mask_gt", "semantic_loss_weight")
            )
            ids = torch.arange(int(things.max()) + 1)
            truth = CellTargets.of(
                Targets(
                    classes=torch.zeros_like(ids),
                    boxes=torch.zeros(len(ids), 4),
                    masks=things == ids[:, None, None],
                    is_thing=torch.ones_like(ids).bool(),
                    image_size=tuple(semantic.shape),
                    sem_seg=torch.zeros_like(semantic).long(),
                ),
                stride=1,
            )
            term = SemanticEntropy(1.0, small_thing_weight=3.0, small_thing_area=500)
            # Of two equal logits the entropy is log 2 everywhere.
            logits = torch.zeros(2, weights.numel())
            predicted = CellOutputs(torch.empty(0, 0), torch.empty(0, 0), logits)
            entropies = term.entropies(predicted, truth, match=())
            torch.testing.assert_close(entropies / math.log(2), weights.flatten())
