"""The three kinds of result keep Detectron2's contracts."""

from dataclasses import replace

import pytest
import torch
from largest_floats import LargestFloats
from small_models import small_config

from d2_psformer.classes import Classes
from d2_psformer.d2.structures import Boxes
from d2_psformer.modeling.outputs import LOGIT, SCORE, QueryOutputs, SegmenterOutputs
from d2_psformer.modeling.postprocessing import (
    MaskFormerMerging,
    MaskWiseMerging,
    PixelArgmaxMerging,
    Placement,
    Postprocessor,
    ResizedMasks,
    build_postprocessor,
)
from d2_psformer.modeling.postprocessing.predictions import MaskPredictions

# things and stuff interleaved, with a gap, as in Cityscapes
KINDS = {"thing_ids": (1, 4), "num_classes": 5}


def predict(masks: torch.Tensor) -> MaskPredictions:
    return MaskPredictions(
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
    return predict(masks)


def build(predictions, **kinds):
    return Postprocessor(MaskWiseMerging(), **KINDS, **kinds).results(predictions)


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
    instances = build(predict(masks), panoptic=False, instances=True)["instances"]
    assert len(instances) == 0
    assert instances.pred_masks.shape == (0, 8, 10)
    assert instances.pred_boxes.tensor.shape == (0, 4)


# ---------------------------------------------------------------- from a batch of outputs


def placed(*output: int) -> Placement:
    """An image without padding, of 10 x 12 cells."""
    return Placement((40, 48), (40, 48), output, 4)


@pytest.fixture
def outputs():
    """Things, pairs of query and class, and stuff, one query a class, of two images."""
    torch.manual_seed(3)
    things = QueryOutputs(
        logits=[torch.randn(2, 6, 1)],
        masks=[2 * torch.rand(2, 6, 10, 12)],
        classes=torch.tensor([[1, 4, 4, 1, 4, 1], [4, 4, 1, 1, 1, 4]]),
        query_index=torch.tensor([[5, 0, 5, 3, 2, 2], [9, 8, 7, 6, 5, 4]]),
        mask_kind=SCORE,
    )
    stuff = QueryOutputs(
        logits=[torch.randn(2, 2, 1) for _ in range(3)],
        masks=[torch.rand(2, 2, 10, 12) for _ in range(4)],
        classes=torch.tensor([[0, 2]] * 2),
        mask_kind=SCORE,
    )
    return SegmenterOutputs({"things": things, "stuff": stuff})


def test_the_last_layer_of_all_sets_is_taken(outputs):
    things, stuff = sets = list(outputs.queries.values())
    found = MaskPredictions.of(sets, 1, (1, 4), placed(10, 12))
    logits = torch.cat([things.logits[-1][1, :, 0], stuff.logits[-1][1, :, 0]])
    torch.testing.assert_close(found.scores, logits.sigmoid())
    assert found.classes.tolist() == [4, 4, 1, 1, 1, 4, 0, 2]
    assert found.is_thing.tolist() == [True] * 6 + [False] * 2
    assert found.queries.tolist() == [9, 8, 7, 6, 5, 4, 0, 1]
    masks = torch.cat([things.masks[-1][1], stuff.masks[-1][1]])
    for index, box, values in found.masks.regions(0.0):
        assert torch.equal(values, masks[index][box])


def test_padding_is_cropped_before_masks_are_resized(outputs):
    """A bar in the right half of the image stays there when its canvas is twice as wide."""
    masks = torch.zeros(1, 1, 8, 16)
    masks[..., 4:8] = 1
    bar = QueryOutputs(
        logits=[torch.zeros(1, 1, 1)],
        masks=[masks],
        classes=torch.tensor([[1]]),
        mask_kind=SCORE,
    )
    found = MaskPredictions.of([bar], 0, (1,), Placement((32, 64), (31, 30), (128, 128), 4))
    assert found.masks.size == (128, 128)
    assert found.masks.above(0.5)[0].tight_box() == [64, 0, 128, 128]


def test_what_the_prefilter_drops_changes_no_panoptic_result(outputs):
    postprocessor = Postprocessor(MaskWiseMerging(score_threshold=0.2), **KINDS)
    for image in (0, 1):
        everything = MaskPredictions.of(
            list(outputs.queries.values()), image, (1, 4), placed(37, 51)
        )
        expected_map, expected = postprocessor.results(everything)["panoptic_seg"]
        id_map, segments_info = postprocessor(outputs, image, placed(37, 51))["panoptic_seg"]
        assert torch.equal(id_map, expected_map) and segments_info == expected
        assert segments_info


def test_other_results_have_no_prefilter(outputs):
    options = KINDS | {"semantic": True, "instances": True}
    postprocessor = Postprocessor(MaskWiseMerging(score_threshold=0.99), **options)
    results = postprocessor(outputs, 0, placed(20, 24))
    assert results["panoptic_seg"][1] == []
    assert len(results["instances"]) == 6 and results["sem_seg"].any()


def test_masks_may_be_logits(outputs):
    """At their own size, logits give what their probabilities give."""

    def results(kind: str, change) -> dict:
        sets = {
            name: replace(x, masks=[change(x.masks[-1])], mask_kind=kind)
            for name, x in outputs.queries.items()
        }
        merging = MaskFormerMerging(score_threshold=0.1)
        options = KINDS | {"semantic": True, "instances": True}
        postprocessor = Postprocessor(merging, **options)
        return postprocessor(SegmenterOutputs(sets), 0, placed(10, 12))

    logits = results(LOGIT, lambda masks: 4 * masks - 3)
    scores = results(SCORE, lambda masks: (4 * masks - 3).sigmoid())
    assert torch.equal(logits["panoptic_seg"][0], scores["panoptic_seg"][0])
    torch.testing.assert_close(logits["sem_seg"], scores["sem_seg"])
    assert torch.equal(logits["instances"].pred_masks, scores["instances"].pred_masks)


# ---------------------------------------------------------------- from a config


@pytest.mark.parametrize(
    ("name", "merging"),
    [
        ("mask_wise", MaskWiseMerging(2.0, 3.0, 0.1, 0.6, 0.7, 0.8)),
        ("pixel_argmax", PixelArgmaxMerging(0.1, 0.6)),
        ("maskformer", MaskFormerMerging(0.1, 0.6, 0.7, 0.8)),
    ],
)
def test_every_key_is_used(name, merging):
    cfg = small_config()
    cfg.MODEL.POSTPROCESSING.merge_from_list(
        [
            *("MERGING", name, "CLASS_POWER", 2.0, "MASK_POWER", 3.0, "SCORE_THRESHOLD", 0.1),
            *("MASK_THRESHOLD", 0.6, "THING_OVERLAP_THRESHOLD", 0.7),
            *("STUFF_OVERLAP_THRESHOLD", 0.8, "PANOPTIC_ON", False, "INSTANCE_ON", True),
        ]
    )
    made = build_postprocessor(cfg, Classes((1, 4), (0, 2)))
    assert made == Postprocessor(
        merging, thing_ids=(1, 4), num_classes=5, panoptic=False, instances=True
    )


# ---------------------------------------------------------------- memory


@pytest.mark.parametrize(("kind", "maps"), [("panoptic", 1), ("instances", 1), ("semantic", 5)])
def test_masks_become_large_one_after_the_other(kind, maps):
    """No result needs more float maps at once than it has itself."""
    count, size = 20, (60, 80)
    large = ResizedMasks(torch.rand(count, 6, 8), size)
    is_thing = torch.arange(count) < 10
    predictions = MaskPredictions(
        large, torch.rand(count), torch.where(is_thing, 4, 0), is_thing, torch.arange(count)
    )
    with LargestFloats() as largest:
        build(predictions, **{"panoptic": False, kind: True})
    assert 0 < largest.count <= maps * size[0] * size[1]
