"""Masks kept as a label map behave as the BitMasks that they stand for."""

import copy
import pickle

import pytest
import torch

from d2_psformer.d2.structures import BitMasks, Instances
from d2_psformer.data.label_masks import LabelMasks

LABELS = torch.tensor([[0, 1, 1, 7], [3, 3, 1, 255]], dtype=torch.uint8)
NUMBERS = torch.tensor([1, 3, 4])


@pytest.fixture(params=[torch.uint8, torch.int32])
def masks(request):
    return LabelMasks(LABELS.to(request.param), NUMBERS)


@pytest.fixture
def expected():
    return BitMasks(NUMBERS[:, None, None] == LABELS)


def test_equal_to_bit_masks(masks, expected):
    assert isinstance(masks, BitMasks)
    assert masks.tensor.dtype == torch.bool and torch.equal(masks.tensor, expected.tensor)
    assert len(masks) == 3 and tuple(masks.image_size) == (2, 4)
    assert masks.device == torch.device("cpu")
    assert torch.equal(masks.nonempty(), torch.tensor([True, True, False]))
    boxes = masks.get_bounding_boxes().tensor
    assert torch.equal(boxes, expected.get_bounding_boxes().tensor)
    assert [m.sum() for m in masks] == [3, 2, 0]


@pytest.mark.parametrize(
    "item", [1, slice(0, 2), torch.tensor([2, 0]), torch.tensor([True, False, True])]
)
def test_indexing_gives_bit_masks(masks, expected, item):
    assert torch.equal(masks[item].tensor, expected[item].tensor)


def test_in_instances(masks):
    instances = Instances((2, 4))
    instances.gt_masks = masks
    assert torch.equal(instances[1:].gt_masks.tensor, masks.tensor[1:])
    both = Instances.cat([instances, instances[:1]]).gt_masks.tensor
    assert torch.equal(both, masks.tensor[[0, 1, 2, 0]])
    moved = instances.to("cpu").gt_masks
    assert isinstance(moved, LabelMasks) and torch.equal(moved.tensor, masks.tensor)


def test_what_a_worker_sends_is_the_label_map(masks):
    large = LabelMasks(torch.zeros(200, 300, dtype=torch.uint8), torch.arange(100))
    assert len(pickle.dumps(large)) < 1.1 * 200 * 300
    for other in (pickle.loads(pickle.dumps(masks)), copy.deepcopy(masks)):
        assert torch.equal(other.tensor, masks.tensor)


def test_no_masks():
    masks = LabelMasks(LABELS, NUMBERS[:0])
    assert len(masks) == 0 and masks.tensor.shape == (0, 2, 4)
