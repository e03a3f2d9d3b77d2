"""Boxes, masks and instances, the same on both backends."""

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import masks_to_boxes

from d2_psformer.d2 import from_backend
from d2_psformer.d2.structures import BitMasks, Boxes, Instances

BoxMode = from_backend("structures")("BoxMode")


def random_boxes(count, seed):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 50
    return torch.cat([corner, corner + torch.rand(count, 2, generator=generator) * 30], dim=1)


def test_boxes_are_float_matrices():
    assert Boxes([[1, 2, 3, 4]]).tensor.dtype == torch.float32
    assert Boxes(torch.zeros(2, 4, dtype=torch.float64)).tensor.dtype == torch.float32
    assert Boxes(torch.zeros(0)).tensor.shape == (0, 4)
    assert Boxes([]).tensor.shape == (0, 4)
    with pytest.raises(AssertionError):
        Boxes(torch.zeros(2, 5))


def test_boxes_index_like_tensors():
    boxes = Boxes(random_boxes(5, seed=0))
    assert len(boxes) == 5
    assert torch.equal(boxes[2].tensor, boxes.tensor[2:3])
    assert torch.equal(boxes[-1].tensor, boxes.tensor[4:])
    assert torch.equal(boxes[1:3].tensor, boxes.tensor[1:3])
    keep = torch.tensor([True, False, False, True, False])
    assert torch.equal(boxes[keep].tensor, boxes.tensor[keep])
    assert torch.equal(boxes[torch.tensor([4, 0])].tensor, boxes.tensor[[4, 0]])
    assert torch.equal(torch.stack(list(boxes)), boxes.tensor)


def test_boxes_area_and_nonempty():
    boxes = Boxes([[0, 0, 4, 2], [1, 1, 1, 5], [3, 3, 2, 4]])
    assert boxes.area().tolist() == [8, 0, -1]
    assert boxes.nonempty().tolist() == [True, False, False]
    assert boxes.nonempty(threshold=2).tolist() == [False, False, False]


def test_boxes_cat_to():
    first, second = Boxes(random_boxes(2, seed=1)), Boxes(random_boxes(3, seed=2))
    joined = Boxes.cat([first, second])
    assert torch.equal(joined.tensor, torch.cat([first.tensor, second.tensor]))
    assert len(Boxes.cat([])) == 0
    assert first.to(torch.device("cpu")).device.type == "cpu"


def random_masks(count, height, width, seed):
    generator = torch.Generator().manual_seed(seed)
    masks = torch.rand(count, height, width, generator=generator) > 0.9
    masks[:, height // 2, width // 3] = True
    return masks


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 4), st.integers(2, 20), st.integers(3, 20), st.integers(0, 99))
def test_boxes_around_masks(count, height, width, seed):
    masks = random_masks(count, height, width, seed)
    found = BitMasks(masks).get_bounding_boxes().tensor.cpu()
    # torchvision gives the last pixel, these boxes end behind it
    assert torch.equal(found, masks_to_boxes(masks) + torch.tensor([0.0, 0, 1, 1]))


def test_boxes_around_no_pixels_are_zero():
    masks = BitMasks(torch.zeros(2, 5, 6))
    assert masks.get_bounding_boxes().tensor.tolist() == [[0] * 4] * 2
    assert masks.nonempty().tolist() == [False, False]
    none = BitMasks(torch.zeros(0, 5, 6))
    assert none.get_bounding_boxes().tensor.shape == (0, 4)
    assert none.nonempty().shape == (0,)
    assert len(none) == 0


def test_bit_masks_index_like_tensors():
    masks = BitMasks(random_masks(4, 6, 7, seed=3).numpy())
    assert masks.tensor.dtype == torch.bool
    assert tuple(masks.image_size) == (6, 7)
    assert torch.equal(masks[1].tensor, masks.tensor[1:2])
    assert torch.equal(masks[1:3].tensor, masks.tensor[1:3])
    keep = torch.tensor([True, False, False, True])
    assert torch.equal(masks[keep].tensor, masks.tensor[keep])
    assert torch.equal(torch.stack(list(masks)), masks.tensor)
    assert torch.equal(BitMasks.cat([masks[0], masks[1:]]).tensor, masks.tensor)
    assert masks.to("cpu").device.type == "cpu"
    with pytest.raises(AssertionError):
        BitMasks(torch.zeros(4, 4))


def filled_instances(count=4):
    return Instances(
        (10, 20),
        gt_classes=torch.arange(count),
        gt_boxes=Boxes(random_boxes(count, seed=4)),
        gt_masks=BitMasks(random_masks(count, 10, 20, seed=5)),
        names=[f"n{index}" for index in range(count)],
    )


def test_instances_fields():
    instances = filled_instances()
    assert instances.image_size == (10, 20)
    assert len(instances) == 4
    assert instances.has("gt_boxes")
    assert not instances.has("scores")
    instances.scores = torch.ones(4)
    assert set(instances.get_fields()) == {"gt_classes", "gt_boxes", "gt_masks", "names", "scores"}
    assert instances.get("scores") is instances.scores
    instances.remove("scores")
    with pytest.raises(AttributeError, match="scores"):
        _ = instances.scores
    with pytest.raises(AssertionError):
        instances.scores = torch.ones(3)
    with pytest.raises(NotImplementedError):
        len(Instances((1, 1)))
    with pytest.raises(NotImplementedError):
        iter(instances)


def test_instances_index_all_fields_at_once():
    instances = filled_instances()
    del instances._fields["names"]
    chosen = instances[torch.tensor([3, 1])]
    assert chosen.gt_classes.tolist() == [3, 1]
    assert torch.equal(chosen.gt_boxes.tensor, instances.gt_boxes.tensor[[3, 1]])
    assert torch.equal(chosen.gt_masks.tensor, instances.gt_masks.tensor[[3, 1]])
    assert instances[instances.gt_classes > 1].gt_classes.tolist() == [2, 3]
    assert instances[-1].gt_classes.tolist() == [3]
    assert instances[1:3].gt_classes.tolist() == [1, 2]
    assert len(instances[torch.zeros(4, dtype=torch.bool)]) == 0
    for outside in (4, -5):
        with pytest.raises(IndexError):
            instances[outside]


def test_instances_cat_and_to():
    first, second = filled_instances(2), filled_instances(3)
    joined = Instances.cat([first, second])
    assert joined.gt_classes.tolist() == [0, 1, 0, 1, 2]
    assert joined.names == ["n0", "n1", "n0", "n1", "n2"]
    assert (len(joined.gt_boxes), len(joined.gt_masks)) == (5, 5)
    assert Instances.cat([first]) is first
    assert first.to("cpu").names == first.names
    with pytest.raises(AssertionError):
        Instances.cat([first, Instances((1, 1), gt_classes=torch.zeros(1))])
    with pytest.raises(ValueError, match="type"):
        Instances.cat([Instances((1, 1), x={}), Instances((1, 1), x={})])


def test_instances_survive_workers():
    instances = filled_instances()
    for again in (pickle.loads(pickle.dumps(instances)), copy.deepcopy(instances)):
        assert again.names == instances.names
        assert torch.equal(again.gt_masks.tensor, instances.gt_masks.tensor)
    assert "num_instances=4" in repr(instances)


@pytest.mark.parametrize("kind", [list, tuple])
def test_box_mode_of_one_box(kind):
    box = kind([5.0, 6.0, 10.0, 20.5])
    found = BoxMode.convert(box, BoxMode.XYXY_ABS, BoxMode.XYWH_ABS)
    assert found == kind([5.0, 6.0, 5.0, 14.5])
    assert BoxMode.convert(found, 1, 0) == box


@pytest.mark.parametrize("kind", [np.array, torch.tensor])
def test_box_mode_of_matrices(kind):
    boxes = kind([[5, 6, 10, 20], [0, 0, 1, 2]])
    found = BoxMode.convert(boxes, BoxMode.XYXY_ABS, BoxMode.XYWH_ABS)
    assert found.dtype == boxes.dtype
    assert found.tolist() == [[5, 6, 5, 14], [0, 0, 1, 2]]
    assert boxes.tolist()[0] == [5, 6, 10, 20]
    assert BoxMode.convert(boxes, 0, 0) is boxes
    with pytest.raises((AssertionError, NotImplementedError)):
        BoxMode.convert(boxes, BoxMode.XYXY_ABS, BoxMode.XYWH_REL)
