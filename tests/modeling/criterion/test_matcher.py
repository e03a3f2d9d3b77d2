"""The assignment against brute force, the costs against transformers' matcher and by hand."""

import itertools
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from small_targets import image_targets, random_targets
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

from d2_psformer.layers import box_cxcywh_to_xyxy
from d2_psformer.modeling.criterion import (
    BoxL1,
    BoxOverlap,
    DenseMasks,
    Dice,
    FixedMatcher,
    FocalClass,
    HungarianMatcher,
    dice_loss,
    resize_masks,
)
from d2_psformer.modeling.criterion.terms import Term
from d2_psformer.modeling.outputs import LayerOutputs
from d2_psformer.utils.errors import UserError

LOCATED = (FocalClass(2.0, 2.0), BoxL1(5.0, 5.0), BoxOverlap(2.0, 2.0))


class GivenCost(Term):
    """The logits are the cost."""

    name: ClassVar[str] = "loss_given"
    reads: ClassVar[str] = "logits"

    def cost(self, predicted, target):
        return predicted

    def loss(self, predicted, matched):
        raise NotImplementedError


def pair(*costs: torch.Tensor):
    """Matches of cost matrices."""
    outputs = [LayerOutputs(logits=cost) for cost in costs]
    return HungarianMatcher([GivenCost(1.0, 1.0)])(outputs, [random_targets(0)] * len(costs))


def least_cost(cost: np.ndarray) -> float:
    """Over every way to pair all of the smaller side."""
    small, large = (cost, cost.shape[1]) if cost.shape[0] <= cost.shape[1] else (cost.T, len(cost))
    return min(
        sum(small[row, column] for row, column in enumerate(columns))
        for columns in itertools.permutations(range(large), len(small))
    )


@settings(max_examples=60, deadline=None)
@given(
    arrays(
        np.float32,
        array_shapes(min_dims=2, max_dims=2, max_side=5),
        elements=st.floats(-10, 10, width=32),
    )
)
def test_matches_equal_brute_force(cost):
    [(rows, columns)] = pair(torch.from_numpy(cost))
    assert len(rows) == len(columns) == min(cost.shape)
    assert len(set(rows.tolist())) == len(set(columns.tolist())) == len(rows)
    assert rows.tolist() == sorted(rows.tolist())
    assert cost[rows, columns].sum() == pytest.approx(least_cost(cost), abs=1e-4)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_matches_of_nothing(shape):
    [(rows, columns)] = pair(torch.zeros(shape))
    assert rows.tolist() == columns.tolist() == []
    assert rows.dtype == columns.dtype == torch.int64


def test_several_sets_are_matched_each_on_its_own():
    costs = [torch.rand(4, 3), torch.rand(4, 0), torch.rand(2, 5)]
    for ours, cost in zip(pair(*costs), costs, strict=True):
        assert [x.tolist() for x in ours] == [x.tolist() for x in pair(cost)[0]]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_cost_that_is_not_finite_says_what_to_try(value):
    cost = torch.zeros(3, 2)
    cost[1, 1] = value
    message = r"matching cost is not finite, first that of loss_given.*SOLVER\.BASE_LR"
    with pytest.raises(UserError, match=message):
        pair(torch.zeros(3, 2), cost)


def test_the_first_term_that_is_not_finite_is_named():
    outputs, target = random_outputs(), random_targets(6)
    outputs.masks[3] = float("nan")
    with pytest.raises(UserError, match="first that of loss_dice"):
        HungarianMatcher((*LOCATED, Dice(2.0, 2.0)))([outputs], [target])
    huge = [GivenCost(1.0, 1.0)] * 2
    with pytest.raises(UserError, match="first that of their sum"):
        HungarianMatcher(huge)([LayerOutputs(logits=torch.full((2, 2), 3e38))], [random_targets(0)])


def random_outputs(queries: int = 20, classes: int = 4) -> LayerOutputs:
    return LayerOutputs(
        logits=torch.randn(queries, classes),
        boxes=torch.rand(queries, 4) * 0.4 + 0.1,
        masks=torch.rand(queries, 4, 6),
    )


@pytest.mark.parametrize("seed", range(5))
def test_matches_equal_transformers(seed):
    losses = pytest.importorskip("transformers.loss.loss_deformable_detr")
    torch.manual_seed(seed)
    outputs, target = random_outputs(), random_targets(6, size=(1, 1))
    matcher = losses.DeformableDetrHungarianMatcher(class_cost=2, bbox_cost=5, giou_cost=2)
    [expected] = matcher(
        {"logits": outputs.logits[None], "pred_boxes": outputs.boxes[None]},
        [{"class_labels": target.classes, "boxes": target.boxes}],
    )
    [ours] = HungarianMatcher(LOCATED)([outputs], [target])
    assert torch.equal(ours[0], expected[0]) and torch.equal(ours[1], expected[1])


def test_cost_by_hand():
    """Of class, box, overlap and mask, of every pair; padding counts for masks alone."""
    outputs, target = random_outputs(8, 3), image_targets(0, 1, 2, size=(20, 40))
    terms = FocalClass(1.0, 4.0), BoxL1(1.0, 5.0), BoxOverlap(1.0, 3.0), Dice(1.0, 2.0)
    cost = HungarianMatcher(terms, DenseMasks(count_padding=True)).cost(outputs, target)
    truth = resize_masks(target.masks, (4, 6)).flatten(1)
    scale = torch.tensor([40.0, 20, 40, 20])
    for q in range(8):
        for n in range(3):
            logit = outputs.logits[q, target.classes[n]]
            yes, no = (sigmoid_focal_loss(logit, torch.tensor(x)) for x in (1.0, 0.0))
            box, known = outputs.boxes[q], target.boxes[n]
            giou = generalized_box_iou_loss(*(box_cxcywh_to_xyxy(x) * scale for x in (box, known)))
            dice = dice_loss(outputs.masks[q].flatten(), truth[n], eps=1e-3)
            expected = 4 * (yes - no) + 5 * (box - known).abs().sum() + 3 * giou + 2 * dice
            torch.testing.assert_close(cost[q, n], expected, rtol=1e-4, atol=1e-5)


def test_half_precision_outputs_are_compared_in_full():
    outputs, target = random_outputs(), random_targets(6)
    matcher = HungarianMatcher((*LOCATED, Dice(2.0, 2.0)))
    half = LayerOutputs(outputs.logits.half(), outputs.boxes.half(), outputs.masks.half())
    cost = matcher.cost(half, target)
    assert cost.dtype == torch.float32
    torch.testing.assert_close(cost, matcher.cost(outputs, target), rtol=0.02, atol=0.02)


def test_what_is_not_predicted_costs_nothing():
    outputs, target = random_outputs(), random_targets(6)
    classes_alone = HungarianMatcher(LOCATED).cost(LayerOutputs(logits=outputs.logits), target)
    expected = HungarianMatcher(LOCATED[:1]).cost(outputs, target)
    torch.testing.assert_close(classes_alone, expected)


def test_masks_decide_where_classes_and_boxes_are_alike():
    target = image_targets(1, 1)
    masks = resize_masks(target.masks, (4, 6)).flip(0)
    outputs = LayerOutputs(torch.zeros(2, 3), torch.full((2, 4), 0.5), masks)
    [(queries, segments)] = HungarianMatcher((*LOCATED, Dice(2.0, 2.0)))([outputs], [target])
    assert queries.tolist() == [0, 1] and segments.tolist() == [1, 0]


# ---------------------------------------------------------------- fixed


def fixed(queries: int, *classes: int):
    outputs, target = LayerOutputs(logits=torch.zeros(queries, 8)), random_targets(len(classes))
    [pair] = FixedMatcher()([outputs], [replace(target, classes=torch.tensor(classes).long())])
    return tuple(x.tolist() for x in pair)


def test_query_k_belongs_to_class_k():
    assert fixed(7, 5, 0, 3) == ([0, 3, 5], [1, 2, 0])
    assert fixed(7) == ([], [])


def test_fixed_matching_needs_a_query_for_every_class():
    with pytest.raises(UserError, match=r"6 queries and 7 classes.*NUM_QUERIES to 7"):
        fixed(6, 5)


def test_fixed_matching_needs_one_segment_for_every_class():
    with pytest.raises(UserError, match=r"one segment of every class.*MODEL.LOSS.MATCHING"):
        fixed(7, 5, 0, 5)
