"""Boxes, masks, instances and image batches, the same on both backends."""

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import box_iou, masks_to_boxes

from d2_psformer.d2.structures import BitMasks, Boxes, ImageList, Instances


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


def test_boxes_area_nonempty_centres():
    boxes = Boxes([[0, 0, 4, 2], [1, 1, 1, 5], [3, 3, 2, 4]])
    assert boxes.area().tolist() == [8, 0, -1]
    assert boxes.nonempty().tolist() == [True, False, False]
    assert boxes.nonempty(threshold=2).tolist() == [False, False, False]
    assert boxes.get_centers()[0].tolist() == [2, 1]


def test_boxes_clip_and_scale_in_place():
    boxes = Boxes([[-3.0, -4.0, 30.0, 8.0], [2, 3, 4, 5]])
    boxes.clip((10, 20))
    assert boxes.tensor.tolist() == [[0, 0, 20, 8], [2, 3, 4, 5]]
    boxes.scale(0.5, 2)
    assert boxes.tensor.tolist() == [[0, 0, 10, 16], [1, 6, 2, 10]]
    with pytest.raises(AssertionError):
        Boxes([[0, 0, float("nan"), 1]]).clip((10, 10))


def test_boxes_inside_an_image():
    boxes = Boxes([[0, 0, 9, 9], [0, 0, 10, 9], [-1, 0, 5, 5]])
    assert boxes.inside_box((10, 10)).tolist() == [True, False, False]
    assert boxes.inside_box((10, 10), boundary_threshold=2).tolist() == [True, True, True]


def test_boxes_cat_clone_to():
    first, second = Boxes(random_boxes(2, seed=1)), Boxes(random_boxes(3, seed=2))
    joined = Boxes.cat([first, second])
    assert torch.equal(joined.tensor, torch.cat([first.tensor, second.tensor]))
    assert len(Boxes.cat([])) == 0
    copied = first.clone()
    copied.tensor += 1
    assert not torch.equal(copied.tensor, first.tensor)
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


def test_bit_masks_from_polygons():
    rectangle = np.array([2.0, 1, 6, 1, 6, 4, 2, 4])
    other = np.array([0.0, 0, 1, 0, 1, 1, 0, 1])
    masks = BitMasks.from_polygon_masks([[rectangle], [rectangle, other], []], 8, 9)
    expected = torch.zeros(3, 8, 9, dtype=torch.bool)
    expected[:2, 1:4, 2:6] = True
    expected[1, 0, 0] = True
    assert torch.equal(masks.tensor, expected)
    assert BitMasks.from_polygon_masks([], 8, 9).tensor.shape == (0, 8, 9)


def test_bit_masks_crop_and_resize():
    masks = torch.zeros(2, 16, 16)
    masks[0, 4:8, 4:12] = 1
    masks[1] = 1
    boxes = torch.tensor([[4.0, 4, 12, 12], [0, 0, 16, 16]])
    cropped = BitMasks(masks).crop_and_resize(boxes, 8)
    assert cropped.dtype == torch.bool
    assert cropped.shape == (2, 8, 8)
    assert cropped[0, :4].all()
    assert not cropped[0, 4:].any()
    assert cropped[1].all()


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


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=3),
    st.sampled_from([0, 1, 4, 32]),
)
def test_image_list_pads_right_and_below(sizes, divisor):
    images = [torch.rand(3, *size) for size in sizes]
    batch = ImageList.from_tensors(images, divisor, pad_value=7.0)
    assert batch.image_sizes == sizes
    assert len(batch) == len(images)
    for axis in (0, 1):
        largest, step = max(size[axis] for size in sizes), max(divisor, 1)
        assert batch.tensor.shape[axis - 2] == -(-largest // step) * step
    for index, image in enumerate(images):
        assert torch.equal(batch[index], image)
        padding = batch.tensor[index].numel() - image.numel()
        assert int((batch.tensor[index] == 7).sum()) == padding


def test_image_list_padding_constraints():
    images = [torch.rand(2, 5, 9)]
    square = ImageList.from_tensors(images, padding_constraints={"square_size": 16})
    assert square.tensor.shape == (1, 2, 16, 16)
    override = ImageList.from_tensors(images, 4, padding_constraints={"size_divisibility": 10})
    assert override.tensor.shape == (1, 2, 10, 10)
    assert ImageList.from_tensors(images, 4, padding_constraints={}).tensor.shape == (1, 2, 8, 12)
    flat = ImageList.from_tensors([torch.rand(5, 9), torch.rand(6, 2)])
    assert flat.tensor.shape == (2, 6, 9)
    half = flat.to(torch.float16)
    assert half.tensor.dtype == torch.float16
    assert half.image_sizes == flat.image_sizes
    with pytest.raises(AssertionError):
        ImageList.from_tensors([])


@pytest.fixture
def boxes_module():
    """The module that Boxes comes from, for the functions that the façade does not hand on."""
    import sys

    return sys.modules[Boxes.__module__]


@pytest.mark.parametrize("seed", range(3))
def test_pairwise_iou(boxes_module, seed):
    first, second = random_boxes(6, seed), random_boxes(5, seed + 10)
    second[0, 2:] = second[0, :2]  # empty
    found = boxes_module.pairwise_iou(Boxes(first), Boxes(second))
    torch.testing.assert_close(found, box_iou(first, second))
    assert (found[:, 0] == 0).all()
    shared = boxes_module.pairwise_intersection(Boxes(first), Boxes(second))
    over_second = boxes_module.pairwise_ioa(Boxes(first), Boxes(second))
    areas = Boxes(second).area()
    torch.testing.assert_close(over_second[:, 1:], shared[:, 1:] / areas[1:])


@pytest.mark.parametrize("kind", [list, tuple])
def test_box_mode_of_one_box(boxes_module, kind):
    mode = boxes_module.BoxMode
    box = kind([5.0, 6.0, 10.0, 20.5])
    found = mode.convert(box, mode.XYXY_ABS, mode.XYWH_ABS)
    assert found == kind([5.0, 6.0, 5.0, 14.5])
    assert mode.convert(found, 1, 0) == box


@pytest.mark.parametrize("kind", [np.array, torch.tensor])
def test_box_mode_of_matrices(boxes_module, kind):
    mode = boxes_module.BoxMode
    boxes = kind([[5, 6, 10, 20], [0, 0, 1, 2]])
    found = mode.convert(boxes, mode.XYXY_ABS, mode.XYWH_ABS)
    assert found.dtype == boxes.dtype
    assert found.tolist() == [[5, 6, 5, 14], [0, 0, 1, 2]]
    assert boxes.tolist()[0] == [5, 6, 10, 20]
    assert mode.convert(boxes, 0, 0) is boxes
    with pytest.raises((AssertionError, NotImplementedError)):
        mode.convert(boxes, mode.XYXY_ABS, mode.XYWH_REL)
