"""Loss terms against torchvision's and fvcore's, and what must hold of a dice."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from fvcore.nn import sigmoid_focal_loss as fvcore_focal
from hypothesis import given, settings
from hypothesis import strategies as st

from d2_psformer.modeling.losses import (
    FineDiceLoss,
    dice_loss,
    focal_terms,
    pairwise_dice_cost,
    sigmoid_focal_loss,
)


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (0.4, 1.0), (0.9, 0.0)])
def test_focal_equals_torchvision_and_fvcore(alpha, gamma):
    logits = (3 * torch.randn(6, 9)).requires_grad_()
    targets = torch.rand(6, 9) < 0.3
    ours = sigmoid_focal_loss(logits, targets, alpha, gamma)
    (gradient,) = torch.autograd.grad(ours, logits)
    for reference in (torchvision.ops.sigmoid_focal_loss, fvcore_focal):
        theirs = reference(logits, targets.float(), alpha=alpha, gamma=gamma, reduction="sum")
        torch.testing.assert_close(ours, theirs)
        torch.testing.assert_close(gradient, torch.autograd.grad(theirs, logits)[0])


def test_focal_is_finite_for_extreme_logits():
    logits = torch.tensor([-1e4, -50.0, 50.0, 1e4], requires_grad=True)
    loss = sigmoid_focal_loss(logits, torch.tensor([True, True, False, False]), 0.25, 2.0)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(logits.grad).all()


def test_focal_of_nothing_is_zero():
    logits = torch.zeros(0, 5, requires_grad=True)
    assert sigmoid_focal_loss(logits, logits > 0, 0.25, 2.0) == 0


def test_focal_terms_are_the_losses_of_either_answer():
    logits = torch.randn(7)
    positive, negative = focal_terms(logits, 0.25, 2.0)
    answer = torch.ones(7, dtype=torch.bool)
    torch.testing.assert_close(positive.sum(), sigmoid_focal_loss(logits, answer, 0.25, 2.0))
    torch.testing.assert_close(negative.sum(), sigmoid_focal_loss(logits, ~answer, 0.25, 2.0))


def random_masks(count: int) -> torch.Tensor:
    return (torch.rand(count, 5, 7) < 0.4).float()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**16), scale=st.floats(0.1, 3))
def test_dice_properties(seed, scale):
    torch.manual_seed(seed)
    masks, targets = scale * torch.rand(4, 5, 7), random_masks(4)
    loss = dice_loss(masks, targets)
    assert ((loss >= 0) & (loss <= 1)).all()
    torch.testing.assert_close(loss, dice_loss(targets, masks), msg="it is symmetric")
    # of binary masks it is one minus the F1 score of the pixels
    other = random_masks(4)
    both = (other * targets).sum((1, 2))
    f1 = 2 * both / (other.sum((1, 2)) + targets.sum((1, 2))).clamp(min=1)
    torch.testing.assert_close(dice_loss(other, targets), 1 - f1, rtol=1e-4, atol=1e-4)


def test_dice_of_equal_and_of_disjoint_masks():
    mask = torch.zeros(1, 4, 4)
    mask[0, :2] = 1
    assert dice_loss(mask, mask).item() == pytest.approx(0, abs=1e-6)
    assert dice_loss(mask, 1 - mask).item() == 1
    # unbounded masks pay for being too strong
    assert dice_loss(3 * mask, mask).item() == pytest.approx(1 - 2 * 3 / (9 + 1), abs=1e-6)


def test_dice_of_empty_masks_is_finite_with_a_gradient():
    masks = torch.zeros(2, 3, 3, requires_grad=True)
    loss = dice_loss(masks, torch.zeros(2, 3, 3))
    loss.sum().backward()
    assert loss.tolist() == [1, 1]
    assert torch.isfinite(masks.grad).all()


@settings(deadline=None, max_examples=30)
@given(
    count=st.integers(0, 3),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    factor=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    seed=st.integers(0, 1000),
)
def test_fine_dice_is_dice_of_interpolated_masks(count, size, factor, seed):
    torch.manual_seed(seed)
    masks = torch.rand(count, *size, dtype=torch.float64, requires_grad=True)
    large = [side * n for side, n in zip(size, factor, strict=True)]
    targets = torch.rand(count, *large, dtype=torch.float64)
    loss = FineDiceLoss(targets, size)(masks)
    if count:  # F.interpolate refuses nothing
        fine = F.interpolate(masks[None], large, mode="bilinear")[0]
        expected = dice_loss(fine, targets)
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(
            torch.autograd.grad(loss.sum(), masks), torch.autograd.grad(expected.sum(), masks)
        )
    assert loss.shape == (count,)


def test_pairwise_cost_is_dice_of_every_pair():
    masks, targets = torch.rand(3, 5, 7), random_masks(4)
    cost = pairwise_dice_cost(masks, targets, eps=1e-6)
    assert cost.shape == (3, 4)
    for i, mask in enumerate(masks):
        torch.testing.assert_close(cost[i], dice_loss(mask.expand(4, -1, -1), targets))


@pytest.mark.parametrize(("masks", "targets"), [(0, 3), (3, 0), (0, 0)])
def test_pairwise_cost_of_nothing(masks, targets):
    cost = pairwise_dice_cost(torch.rand(masks, 4, 4), torch.rand(targets, 4, 4))
    assert cost.shape == (masks, targets)
