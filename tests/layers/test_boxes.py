"""Boxes against torchvision's functions."""

import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st

from d2_psformer.layers import box_cxcywh_to_xyxy, box_xyxy_to_cxcywh, generalized_box_iou

sides = st.floats(0.5, 80, width=32)
places = st.floats(0, 100, width=32)
boxes = st.tuples(places, places, sides, sides).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


@settings(max_examples=50, deadline=None)
@given(a=st.lists(boxes, min_size=1, max_size=5), b=st.lists(boxes, min_size=1, max_size=5))
def test_pairwise_giou_equals_torchvision(a, b):
    a, b = torch.tensor(a), torch.tensor(b)
    torch.testing.assert_close(
        generalized_box_iou(a[:, None], b),
        torchvision.ops.generalized_box_iou(a, b),
        rtol=1e-4,
        atol=1e-5,
    )


def test_giou_of_known_boxes():
    a = torch.tensor([0.0, 0.0, 2.0, 2.0])
    assert generalized_box_iou(a, a).item() == 1
    half = torch.tensor([0.0, 0.0, 1.0, 2.0])
    assert generalized_box_iou(a, half).item() == 0.5
    # 1 x 1 boxes with one such gap between them: no overlap, a third of the hull empty
    far = torch.tensor([[0.0, 0.0, 1.0, 1.0], [2.0, 0.0, 3.0, 1.0]])
    torch.testing.assert_close(generalized_box_iou(far[0], far[1]), torch.tensor(-1 / 3))


def test_giou_of_empty_boxes_is_finite_and_has_a_gradient():
    point = torch.zeros(1, 4, requires_grad=True)
    value = generalized_box_iou(point, torch.zeros(1, 4))
    value.sum().backward()
    assert torch.isfinite(value).all() and torch.isfinite(point.grad).all()


def test_giou_gradient_equals_torchvision():
    low = torch.rand(6, 2, dtype=torch.float64)
    ours = torch.cat([low, low + torch.rand(6, 2, dtype=torch.float64)], -1).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    truth = torch.tensor([[0.2, 0.3, 1.1, 0.9]], dtype=torch.float64).expand(6, 4)
    (1 - generalized_box_iou(ours, truth)).sum().backward()
    torchvision.ops.generalized_box_iou_loss(theirs, truth, reduction="sum").backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.lists(boxes, min_size=1, max_size=4))
def test_conversions_equal_torchvision_and_undo_each_other(corners):
    corners = torch.tensor(corners)
    centres = box_xyxy_to_cxcywh(corners)
    torch.testing.assert_close(centres, torchvision.ops.box_convert(corners, "xyxy", "cxcywh"))
    torch.testing.assert_close(box_cxcywh_to_xyxy(centres), corners, rtol=1e-5, atol=1e-4)
