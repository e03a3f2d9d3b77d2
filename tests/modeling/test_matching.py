"""The assignment against brute force, the costs against transformers' matcher."""

import itertools

import numpy as np
import pytest
import torch
from d2_psformer.modeling.matching import LocationCost, hungarian, hungarian_each
from d2_psformer.modeling.targets import BatchedThings
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays


def least_cost(cost: np.ndarray) -> float:
    """Over every way to pair all of the smaller side."""
    small, large = (cost, cost.shape[1]) if cost.shape[0] <= cost.shape[1] else (cost.T, len(cost))
    return min(
        sum(small[row, column] for row, column in enumerate(columns))
        for columns in itertools.permutations(range(large), len(small))
    )


def pair(cost: torch.Tensor):
    return hungarian(cost, torch.device("cpu"))


@settings(max_examples=60, deadline=None)
@given(
    arrays(
        np.float64,
        array_shapes(min_dims=2, max_dims=2, max_side=5),
        elements=st.floats(-10, 10),
    )
)
def test_hungarian_equals_brute_force(cost):
    rows, columns = pair(torch.from_numpy(cost))
    assert len(rows) == len(columns) == min(cost.shape)
    assert len(set(rows.tolist())) == len(set(columns.tolist())) == len(rows)
    assert rows.tolist() == sorted(rows.tolist())
    assert cost[rows, columns].sum() == pytest.approx(least_cost(cost), abs=1e-9)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_hungarian_of_nothing(shape):
    rows, columns = pair(torch.zeros(shape))
    assert rows.tolist() == columns.tolist() == []
    assert rows.dtype == columns.dtype == torch.int64


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_cost_that_is_not_finite_says_what_to_try(value):
    cost = torch.zeros(3, 2)
    cost[1, 1] = value
    with pytest.raises(ValueError, match=r"matching cost is not finite.*SOLVER\.BASE_LR"):
        pair(cost)


def random_case(queries=20, things=6, classes=4, size=(48, 64)):
    """Logits and boxes of the queries, and the things of one image of (height, width)."""
    boxes = torch.rand(queries + things, 4) * 0.4 + 0.1
    truth = BatchedThings(
        classes=torch.randint(classes, (things,)),
        boxes=boxes[queries:],
        scale=torch.tensor([size[::-1] * 2], dtype=torch.float32).expand(things, -1),
        counts=[things],
    )
    return torch.randn(queries, classes), boxes[:queries], truth


@pytest.mark.parametrize("seed", range(5))
def test_matches_equal_transformers(seed):
    losses = pytest.importorskip("transformers.loss.loss_deformable_detr")
    torch.manual_seed(seed)
    logits, boxes, truth = random_case(size=(1, 1))
    matcher = losses.DeformableDetrHungarianMatcher(class_cost=2, bbox_cost=5, giou_cost=2)
    [(rows, columns)] = matcher(
        {"logits": logits[None], "pred_boxes": boxes[None]},
        [{"class_labels": truth.classes, "boxes": truth.boxes}],
    )
    ours = pair(LocationCost()(logits, boxes, truth))
    assert torch.equal(ours[0], rows) and torch.equal(ours[1], columns)


def test_cost_is_the_weighted_sum_of_its_parts():
    case = random_case()
    parts = [LocationCost(*weights)(*case) for weights in [(1, 0, 0), (0, 1, 0), (0, 0, 1)]]
    whole = LocationCost(3.0, 4.0, 5.0)(*case)
    torch.testing.assert_close(whole, 3 * parts[0] + 4 * parts[1] + 5 * parts[2])


def test_leading_dimensions_are_kept():
    logits, boxes, truth = random_case()
    cost = LocationCost()
    stacked = cost(
        torch.stack([logits, logits.flip(0)]), torch.stack([boxes, boxes.flip(0)]), truth
    )
    assert stacked.shape == (2, 20, 6)
    torch.testing.assert_close(stacked[1], cost(logits, boxes, truth).flip(0))


def test_half_precision_outputs_are_compared_in_full():
    logits, boxes, truth = random_case()
    cost = LocationCost()(logits.half(), boxes.half(), truth)
    assert cost.dtype == torch.float32
    torch.testing.assert_close(cost, LocationCost()(logits, boxes, truth), rtol=0.02, atol=0.02)


def test_without_boxes_the_cost_is_that_of_the_class():
    logits, _, truth = random_case()
    expected = LocationCost(3.0, 0, 0)(logits, torch.rand(20, 4), truth)
    torch.testing.assert_close(LocationCost(3.0, 5.0, 2.0)(logits, None, truth), expected)


def test_several_matrices_in_one_transfer():
    costs = [torch.rand(4, 3), torch.rand(4, 0), torch.rand(2, 5)]
    for ours, cost in zip(hungarian_each(costs, torch.device("cpu")), costs, strict=True):
        assert [x.tolist() for x in ours] == [x.tolist() for x in pair(cost)]


def test_no_things_no_columns():
    assert LocationCost()(*random_case(things=0)).shape == (20, 0)
