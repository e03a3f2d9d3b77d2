"""Losses, matches and gradients of MaX-DeepLab against deeplab2's numbers.

The gradient is the exact one (``grad_exact``): TensorFlow's differs where the target of a
cross-entropy does not sum to one.
"""

import pytest
import torch
from golden_loss_cases import LOSSES, LossCase, read_cases

from d2_psformer.modeling.criterion import IGNORE

CASES = (
    "coco_more_slots",
    "coco_real_order",
    "coco_equal",
    "no_ground_truth",
    "no_ground_truth_few_slots",
    "one_empty_image",
    "no_void",
    "mostly_void",
    "cityscapes_ids",
    "small_masks_vanish",
    "weights_and_topk",
    "fewer_slots_than_masks",
    "good_predictions",
    "coco_133_classes_128_slots",
)
ONE = "case", CASES
# What differs where there are more segments than slots: the reference gives those that are left
# over to slots that do not exist, and adds their classes to the one of slot 0.
LEFT_OUT = {"loss_pq_class", "loss_mask_id"}


@pytest.fixture(scope="module")
def cases(reference_max_deeplab) -> dict[str, LossCase]:
    return read_cases(reference_max_deeplab)


def test_golden_cases_are_all_here(cases):
    assert set(cases) == set(CASES)


@pytest.mark.parametrize(*ONE)
def test_golden_matches(cases, case):
    case = cases[case]
    matches = case.criterion.match(case.outputs(), case.targets)
    for (queries, segments), official in zip(matches, case.tensor("match/slot"), strict=True):
        ours = torch.full(official.shape, -1)
        ours[segments] = queries
        assert torch.equal(ours, official.long())


@pytest.mark.parametrize(*ONE)
def test_golden_losses_of_every_image(cases, case):
    case = cases[case]
    for image in case.images:
        losses = case.criterion(case.outputs(slice(image, image + 1)), [case.targets[image]])
        assert set(losses) == set(LOSSES)
        for name in set(LOSSES) - (LEFT_OUT if case.has_left_over_segments else set()):
            official = float(case.tensor(f"loss/{LOSSES[name]}")[image])
            ours = float(losses[name].detach())
            # A left-over segment has a weight of 1e-5 in the reference.
            tolerance = 1e-4 if case.has_left_over_segments else 1e-5
            assert ours == pytest.approx(official, rel=tolerance, abs=1e-7), (name, image)


@pytest.mark.parametrize(*ONE)
def test_golden_gradients(cases, case):
    case = cases[case]
    for name, ours in gradients(case).items():
        exact = f"grad_exact/{name}"
        official = case.tensor(exact if exact in case.arrays else f"grad/{name}")
        if case.has_left_over_segments and name == "mask_logits":
            continue
        slots = slice(1 if case.has_left_over_segments and name == "class_logits" else 0, None)
        assert_near(ours[:, slots], official[:, slots])


@pytest.mark.parametrize(*ONE)
def test_golden_gradients_of_tensorflow(cases, case):
    """Ours, and a push away from all slots at the cells of crowds, whose loss is 0."""
    case = cases[case]
    if case.has_left_over_segments:
        pytest.skip("segments that are left over have a gradient there")
    ours = gradients(case)
    logits = case.predicted["mask_logits"].detach()
    for image, target in enumerate(case.targets):
        masks, semantic = (
            x[..., :: case.stride, :: case.stride] for x in (target.masks, target.semantic)
        )
        in_segment = masks.any(0)
        crowd = (semantic != IGNORE) & ~in_segment
        if case.config["top_k_percent"] == 1:  # else a loss of 0 is none of the largest
            push = case.config["weights"]["mask_id_cross_entropy"] * logits[image].softmax(-1)
            ours["mask_logits"][image] += crowd[..., None] * push / in_segment.sum().clamp(min=1)
    for name, gradient in ours.items():
        assert_near(gradient, case.tensor(f"grad/{name}"))


def gradients(case: LossCase) -> dict[str, torch.Tensor]:
    """Of the sum of all losses of all images."""
    total = len(case.images) * sum(case.criterion(case.outputs(), case.targets).values())
    return dict(
        zip(
            case.predicted,
            torch.autograd.grad(total, list(case.predicted.values())),
            strict=True,
        )
    )


def assert_near(ours: torch.Tensor, official: torch.Tensor) -> None:
    """The largest difference is at most 1e-5 of the largest value."""
    assert ours.shape == official.shape
    assert (ours - official).abs().max() <= 1e-5 * official.abs().max()


def test_golden_segments_that_are_left_over(cases):
    """Ours leave them out; the reference gives them to slots whose logit is -99999."""
    case = cases["fewer_slots_than_masks"]
    [target], [(_, segments)] = case.targets, case.criterion.match(case.outputs(), case.targets)
    masks = target.masks[:, :: case.stride, :: case.stride]
    rest = masks.any(0) & ~masks[segments].any(0)
    assert rest.any()
    ours = case.criterion(case.outputs(), case.targets)["loss_mask_id"] * masks[segments].sum()
    entropies = case.predicted["mask_logits"][0].logsumexp(-1)[rest] + 99999
    expected = ours + case.config["weights"]["mask_id_cross_entropy"] * entropies.sum()
    official = case.tensor(f"loss/{LOSSES['loss_mask_id']}")[0]
    torch.testing.assert_close((expected / masks.any(0).sum()).detach(), official)
