"""Costs and losses against torchvision's and fvcore's, and against each other."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
import torchvision
from fvcore.nn import sigmoid_focal_loss as fvcore_focal
from hypothesis import given, settings
from hypothesis import strategies as st
from small_targets import random_targets

from d2_psformer.layers import box_cxcywh_to_xyxy
from d2_psformer.modeling.criterion import (
    BoxL1,
    BoxOverlap,
    CrossEntropyClass,
    Dice,
    FocalClass,
    MaskBCE,
    MaskFocal,
    SigmoidDice,
    dice_loss,
)
from d2_psformer.modeling.criterion.class_terms import binary_entropies
from d2_psformer.modeling.criterion.targets import MatchedTargets
from d2_psformer.modeling.criterion.terms import Term
from d2_psformer.utils.errors import UserError

NO_MATCH = torch.zeros(0, dtype=torch.long)
TERMS = [
    FocalClass(1.0, 1.0),
    BoxL1(1.0, 1.0),
    BoxOverlap(1.0, 1.0),
    Dice(1.0, 1.0, cost_eps=1e-6),
    MaskFocal(1.0, 1.0),
    MaskBCE(1.0, 1.0),
    SigmoidDice(1.0, 1.0),
]
names = pytest.mark.parametrize("term", TERMS, ids=lambda term: type(term).__name__)


def random_case(term: Term, queries: int = 5, things: int = 3):
    """What the term reads, float64, of one image; and its truth."""
    target = random_targets(things, size=(5, 7))
    target = replace(target, boxes=target.boxes.double(), image_size=(50, 70))
    shape = {"logits": 4, "boxes": 4, "masks": 35}[term.reads]
    predicted = torch.rand(queries, shape, dtype=torch.float64)
    if term.reads == "boxes":
        return predicted * 0.4 + 0.1, target
    truth = target.masks.flatten(1).double() if term.reads == "masks" else target
    return predicted if isinstance(term, Dice) else 3 * predicted - 2, truth


def loss_of(term: Term, predicted: torch.Tensor, truth, match) -> torch.Tensor:
    """The loss of one image with a given match."""
    queries, segments = match
    if term.reads == "masks":
        return term.loss(predicted[queries], truth[segments])
    matched = MatchedTargets.of([truth], [match])
    return term.loss(predicted[None] if term.reads == "logits" else predicted[queries], matched)


@names
def test_the_cost_of_a_pair_is_what_the_pair_adds_to_the_loss(term):
    predicted, truth = random_case(term)
    nothing = loss_of(term, predicted, truth, (NO_MATCH, NO_MATCH))
    assert term.reads == "logits" or nothing == 0
    cost = term.cost(predicted, truth)
    assert cost.shape == (5, 3)
    for query in range(5):
        for segment in range(3):
            pair = torch.tensor([query]), torch.tensor([segment])
            loss = loss_of(term, predicted, truth, pair)
            torch.testing.assert_close(cost[query, segment], loss - nothing)


@names
def test_losses_of_several_pairs_add_up(term):
    predicted, truth = random_case(term)
    match = torch.tensor([1, 4]), torch.tensor([2, 0])
    nothing = loss_of(term, predicted, truth, (NO_MATCH, NO_MATCH))
    single = [loss_of(term, predicted, truth, tuple(x[i : i + 1] for x in match)) for i in (0, 1)]
    whole = loss_of(term, predicted, truth, match)
    torch.testing.assert_close(whole - nothing, sum(single) - 2 * nothing)


@names
def test_gradients_are_those_of_finite_differences(term):
    predicted, truth = random_case(term)
    match = torch.tensor([0, 3]), torch.tensor([1, 0])
    torch.autograd.gradcheck(
        lambda x: loss_of(term, x, truth, match), predicted.requires_grad_(), atol=1e-6
    )


@names
@pytest.mark.parametrize(("queries", "things"), [(0, 3), (3, 0), (0, 0)])
def test_costs_of_nothing(term, queries, things):
    assert term.cost(*random_case(term, queries, things)).shape == (queries, things)


@names
def test_negative_weights_are_refused(term):
    with pytest.raises(UserError, match=rf"^weight of {term.name} is -1\.0: it must be at least 0"):
        type(term)(-1.0, 1.0)
    with pytest.raises(UserError, match=rf"^cost weight of {term.name} is -2\.0: it must be at"):
        type(term)(1.0, -2.0)


# ---------------------------------------------------------------- classes


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (0.4, 1.0), (0.9, 0.0)])
def test_focal_equals_torchvision_and_fvcore(alpha, gamma):
    logits = (3 * torch.randn(2, 6, 9)).requires_grad_()
    images, queries = torch.tensor([0, 0, 1]), torch.tensor([1, 5, 2])
    classes = torch.tensor([8, 0, 4])
    targets = torch.zeros(2, 6, 9)
    targets[images, queries, classes] = 1
    ours = FocalClass(1.0, 1.0, alpha, gamma).loss(
        logits, MatchedTargets(images, queries, classes, None, None, [2, 1], None)
    )
    (gradient,) = torch.autograd.grad(ours, logits)
    for reference in (torchvision.ops.sigmoid_focal_loss, fvcore_focal):
        theirs = reference(logits, targets, alpha=alpha, gamma=gamma, reduction="sum")
        torch.testing.assert_close(ours, theirs)
        torch.testing.assert_close(gradient, torch.autograd.grad(theirs, logits)[0])


def test_focal_is_finite_for_extreme_logits():
    logits = torch.tensor([[-1e4, -50.0, 50.0, 1e4]] * 2, requires_grad=True)
    match = torch.tensor([0, 1]), torch.tensor([0, 1])
    loss = loss_of(FocalClass(1.0, 1.0), logits, random_targets(2), match)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(logits.grad).all()


def matched_classes(images, queries, classes) -> MatchedTargets:
    indices = (torch.as_tensor(x) for x in (images, queries, classes))
    return MatchedTargets(*indices, None, None, [], None)


@pytest.mark.parametrize("no_object", [0.1, 1.0, 0.0])
def test_cross_entropy_is_a_mean_weighted_by_class(no_object):
    logits = (3 * torch.randn(2, 6, 5)).requires_grad_()
    matched = matched_classes([0, 0, 1], [1, 5, 2], [3, 0, 3])
    term = CrossEntropyClass(1.0, 1.0, no_object)
    loss = term.loss(logits, matched) / term.divisor(logits, matched, num_segments=100)
    classes = torch.full((2, 6), 4)
    classes[0, 1] = classes[1, 2] = 3
    classes[0, 5] = 0
    weights = torch.tensor([1, 1, 1, 1, no_object])
    expected = F.cross_entropy(logits.transpose(1, 2), classes, weights)
    torch.testing.assert_close(loss, expected)
    gradients = (torch.autograd.grad(x, logits)[0] for x in (loss, expected))
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("global_weight", [True, False])
def test_cross_entropy_without_any_weight_is_zero(global_weight):
    """No query is matched, and "no object" does not count."""
    logits = torch.randn(2, 6, 5, requires_grad=True)
    matched = matched_classes(*3 * [torch.zeros(0, dtype=torch.long)])
    term = CrossEntropyClass(1.0, 1.0, no_object_weight=0.0, global_weight=global_weight)
    loss = term.loss(logits, matched) / term.divisor(logits, matched, num_segments=1)
    loss.backward()
    assert loss == 0 and not logits.grad.any()


def test_cross_entropy_costs_minus_the_probability():
    logits, target = torch.randn(6, 5), random_targets(3)
    p = logits.exp() / logits.exp().sum(1, keepdim=True)
    cost = CrossEntropyClass(1.0, 1.0).cost(logits, target)
    for n, class_id in enumerate(target.classes):
        torch.testing.assert_close(cost[:, n], -p[:, class_id])


def test_cross_entropy_has_finite_differences():
    logits = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    matched = matched_classes([0, 1], [2, 0], [1, 0])
    assert torch.autograd.gradcheck(lambda x: CrossEntropyClass(1.0, 1.0).loss(x, matched), logits)


# ---------------------------------------------------------------- boxes


def test_overlap_equals_torchvision_in_pixels():
    term, target = BoxOverlap(1.0, 1.0), random_targets(4, size=(48, 64))
    boxes = torch.rand(4, 4) * 0.4 + 0.1
    scale = torch.tensor([64.0, 48, 64, 48])
    theirs = torchvision.ops.generalized_box_iou_loss(
        box_cxcywh_to_xyxy(boxes) * scale,
        box_cxcywh_to_xyxy(target.boxes) * scale,
        reduction="sum",
    )
    order = torch.arange(4)
    torch.testing.assert_close(loss_of(term, boxes, target, (order, order)), theirs)


# ---------------------------------------------------------------- masks


def random_masks(count: int) -> torch.Tensor:
    return (torch.rand(count, 35) < 0.4).float()


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (0.6, 1.0)])
def test_mask_focal_equals_torchvision(alpha, gamma):
    logits, truth = 4 * torch.randn(3, 35), random_masks(3)
    expected = torchvision.ops.sigmoid_focal_loss(logits, truth, alpha, gamma)
    loss = MaskFocal(1.0, 1.0, alpha, gamma).loss(logits, truth)
    torch.testing.assert_close(loss, expected.mean(1).sum())


def test_mask_entropy_equals_torch_for_soft_truths():
    logits, truth = 4 * torch.randn(3, 35), torch.rand(3, 35)
    expected = F.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean(1).sum()
    torch.testing.assert_close(MaskBCE(1.0, 1.0).loss(logits, truth), expected)


def test_sigmoid_dice_by_hand():
    logits, truth = (
        torch.tensor([[0.0, 0.0, 9e9], [0.0, 0.0, 0.0]]),
        torch.tensor([[0.0, 1, 1], [0, 0, 0]]),
    )
    expected = 1 - (2 * 1.5 + 1) / (2 + 2 + 1) + 1 - 1 / (1.5 + 1)
    assert SigmoidDice(1.0, 1.0).loss(logits, truth).item() == pytest.approx(expected)


@pytest.mark.parametrize("term", TERMS[-3:], ids=lambda term: type(term).__name__)
def test_mask_losses_are_finite_for_extreme_logits(term):
    logits = torch.tensor([[-1e4, -50.0, 50.0, 1e4]] * 2, requires_grad=True)
    truth = torch.tensor([[1.0, 1, 0, 0], [0.0, 0, 1, 1]])
    loss = term.loss(logits, truth)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(logits.grad).all()
    assert torch.isfinite(term.cost(logits, truth)).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**16), scale=st.floats(0.1, 3))
def test_dice_properties(seed, scale):
    torch.manual_seed(seed)
    masks, targets = scale * torch.rand(4, 35), random_masks(4)
    loss = dice_loss(masks, targets)
    assert ((loss >= 0) & (loss <= 1)).all()
    torch.testing.assert_close(loss, dice_loss(targets, masks), msg="it is symmetric")
    # of binary masks it is one minus the F1 score of the pixels
    other = random_masks(4)
    f1 = 2 * (other * targets).sum(1) / (other.sum(1) + targets.sum(1)).clamp(min=1)
    torch.testing.assert_close(dice_loss(other, targets), 1 - f1, rtol=1e-4, atol=1e-4)


def test_dice_of_equal_and_of_disjoint_masks():
    mask = torch.zeros(1, 16)
    mask[0, :8] = 1
    assert dice_loss(mask, mask).item() == pytest.approx(0, abs=1e-6)
    assert dice_loss(mask, 1 - mask).item() == 1
    # unbounded masks pay for being too strong
    assert dice_loss(3 * mask, mask).item() == pytest.approx(1 - 2 * 3 / (9 + 1), abs=1e-6)


def test_dice_of_empty_masks_is_finite_with_a_gradient():
    masks = torch.zeros(2, 9, requires_grad=True)
    loss = dice_loss(masks, torch.zeros(2, 9))
    loss.sum().backward()
    assert loss.tolist() == [1, 1]
    assert torch.isfinite(masks.grad).all()


def test_binary_entropies_and_their_gradients_are_pytorchs():
    x = torch.tensor([-200.0, -20, -3, -1e-4, 0, 1e-4, 3, 20, 200], requires_grad=True)
    for truth, ours in zip((1.0, 0.0), binary_entropies(x), strict=True):
        theirs = F.binary_cross_entropy_with_logits(x, torch.full_like(x, truth), reduction="none")
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)
        gradients = (torch.autograd.grad(y.sum(), x, retain_graph=True)[0] for y in (ours, theirs))
        torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-7)
