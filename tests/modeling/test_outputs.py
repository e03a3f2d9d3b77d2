"""The three kinds of result keep Detectron2's contracts."""

import pytest
import torch
from d2_psformer.modeling.merging import MaskWiseMerging
from d2_psformer.modeling.resized_masks import ResizedMasks
from torch.utils._python_dispatch import TorchDispatchMode

from d2_psformer.classes import Classes
from d2_psformer.d2.structures import Boxes
from d2_psformer.modeling.outputs import Predictions, ResultBuilder

# things and stuff mixed, with a gap, as in Cityscapes
LAYOUT = Classes(thing_ids=(1, 4), stuff_ids=(0, 2))


def candidates(masks: torch.Tensor) -> Predictions:
    return Predictions(
        masks=ResizedMasks(masks, masks.shape[1:]),
        scores=torch.tensor([0.9, 0.95, 0.2, 0.8, 0.7]),
        classes=torch.tensor([4, 1, 1, 0, 2]),
        is_thing=torch.tensor([True, True, True, False, False]),
        queries=torch.tensor([7, 3, 3, 0, 1]),
    )


@pytest.fixture
def masks():
    """Two things beside each other, a weak third, stuff below them all and one absent stuff."""
    masks = torch.zeros(5, 8, 10)
    masks[0, :4, :5] = 0.9
    masks[1, :4, 5:] = 3.0
    masks[2, :4, :] = 0.6
    masks[3, 4:, :] = 1.0
    masks[4] = 0.3
    return masks


@pytest.fixture
def predictions(masks):
    return candidates(masks)


def build(predictions, **kinds):
    return ResultBuilder(MaskWiseMerging(), LAYOUT, **kinds)(predictions)


@pytest.mark.parametrize("panoptic", [True, False])
@pytest.mark.parametrize("semantic", [True, False])
@pytest.mark.parametrize("instances", [True, False])
def test_every_kind_is_switchable(predictions, panoptic, semantic, instances):
    results = build(predictions, panoptic=panoptic, semantic=semantic, instances=instances)
    expected = {"panoptic_seg": panoptic, "sem_seg": semantic, "instances": instances}
    assert set(results) == {kind for kind, on in expected.items() if on}


def test_panoptic_seg(predictions):
    id_map, segments_info = build(predictions)["panoptic_seg"]
    assert id_map.dtype == torch.int32 and id_map.shape == (8, 10)
    found = [
        (s["id"], s["category_id"], s["isthing"], s["area"], s["query"]) for s in segments_info
    ]
    assert found == [(1, 1, True, 20, 3), (2, 0, False, 40, 0), (3, 4, True, 20, 7)]
    for segment in segments_info:
        assert {k: type(v) for k, v in segment.items()} == {
            "id": int,
            "category_id": int,
            "isthing": bool,
            "score": float,
            "area": int,
            "query": int,
        }
        assert 0 < segment["score"] <= 1
        assert segment["area"] == (id_map == segment["id"]).sum()
    assert set(id_map.unique().tolist()) == {1, 2, 3}


def test_sem_seg_is_the_best_mask_of_each_class(masks, predictions):
    semantic = build(predictions, panoptic=False, semantic=True)["sem_seg"]
    assert semantic.shape == (5, 8, 10)
    scores = MaskWiseMerging().score(predictions.masks, predictions.scores)
    expected = torch.zeros(5, 8, 10)
    for mask, score, label in zip(masks, scores, predictions.classes.tolist(), strict=True):
        expected[label] = torch.maximum(expected[label], score * mask.clamp(max=1))
    torch.testing.assert_close(semantic, expected)
    assert semantic.argmax(0)[0, 0] == 4 and semantic.argmax(0)[7, 0] == 0


def test_instances_are_the_things_that_have_pixels(predictions):
    instances = build(predictions, panoptic=False, instances=True)["instances"]
    assert instances.image_size == (8, 10)
    assert instances.pred_classes.tolist() == [4, 1, 1]
    assert instances.pred_masks.dtype == torch.bool and instances.pred_masks.shape == (3, 8, 10)
    assert isinstance(instances.pred_boxes, Boxes)
    assert instances.pred_boxes.tensor.tolist() == [[0, 0, 5, 4], [5, 0, 10, 4], [0, 0, 10, 4]]
    assert instances.scores[1] == 1, "the raw score of a mask above one is clamped"


def test_no_thing_with_pixels(masks):
    masks[:3] = 0
    instances = build(candidates(masks), panoptic=False, instances=True)["instances"]
    assert len(instances) == 0
    assert instances.pred_masks.shape == (0, 8, 10)
    assert instances.pred_boxes.tensor.shape == (0, 4)


class LargestFloats(TorchDispatchMode):
    """Counts the elements of the largest float tensor that is made."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor) and made.is_floating_point():
            self.count = max(self.count, made.numel())
        return made


@pytest.mark.parametrize(("kind", "maps"), [("panoptic", 1), ("instances", 1), ("semantic", 5)])
def test_masks_become_large_one_after_the_other(kind, maps):
    """No result needs more float maps at once than it has itself."""
    count, size = 20, (60, 80)
    large = ResizedMasks(torch.rand(count, 6, 8), size)
    is_thing = torch.arange(count) < 10
    predictions = Predictions(
        large, torch.rand(count), torch.where(is_thing, 4, 0), is_thing, torch.arange(count)
    )
    results = ResultBuilder(MaskWiseMerging(), LAYOUT, **{"panoptic": False, kind: True})
    with LargestFloats() as largest:
        results(predictions)
    assert 0 < largest.count <= maps * size[0] * size[1]
