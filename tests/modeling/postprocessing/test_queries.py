"""Results of a softmax over classes, and of pixels, against the official steps on whole masks."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from benchmarks import official_steps
from largest_floats import LargestFloats
from small_models import small_config

from d2_psformer.classes import Classes
from d2_psformer.modeling.outputs import QueryOutputs, SegmenterOutputs
from d2_psformer.modeling.postprocessing import (
    MaskFormerMerging,
    MaskWiseMerging,
    Placement,
    Postprocessor,
    ResizedMasks,
    build_postprocessor,
)
from d2_psformer.utils.errors import UserError

THINGS, NUM_CLASSES, QUERIES = (1, 4), 5, 20
SAME_SIZE = Placement((136, 192), (130, 181), (130, 181), stride=4)
PLACEMENTS = {
    "own size": SAME_SIZE,
    "larger": replace(SAME_SIZE, output=(217, 290)),
    "smaller": replace(SAME_SIZE, output=(60, 75)),
    "no padding": Placement((136, 192), (136, 192), (250, 160), stride=4),
}


def random_outputs(seed: int, placement: Placement = SAME_SIZE, offset: float = 0.0):
    """Two images; smooth masks, which lie over one another, and sure classes."""
    random = torch.Generator().manual_seed(seed)
    cells = [-(-side // placement.stride) for side in placement.canvas]
    coarse = 12 * torch.randn(2, QUERIES, 5, 6, generator=random) - 6 + offset
    logits = 4 * torch.randn(2, QUERIES, NUM_CLASSES + 1, generator=random)
    masks = F.interpolate(coarse, cells, mode="bicubic")
    return SegmenterOutputs({"queries": QueryOutputs([logits], [masks])})


def large(outputs: SegmenterOutputs, image: int, placement: Placement):
    """Class logits (Q, K + 1) and mask logits (Q, H, W) of an image, resized as a whole."""
    queries = outputs.queries["queries"]
    masks = official_steps.resize_all(queries.masks[-1][image], placement)
    return queries.logits[-1][image], masks


def postprocessor(merging=None, **kinds) -> Postprocessor:
    merging = merging or MaskFormerMerging(0.5, 0.5, 0.4, 0.4, within_mask=True)
    return Postprocessor(merging, THINGS, NUM_CLASSES, **{"panoptic": False} | kinds)


def few_differ(ours: torch.Tensor, official: torch.Tensor) -> bool:
    """Resizing along one axis after the other is rounded differently."""
    return ours.shape == official.shape and (ours != official).float().mean() < 1e-3


@pytest.mark.parametrize("within_mask", [True, False])
@pytest.mark.parametrize("name", PLACEMENTS)
@pytest.mark.parametrize("seed", range(3))
def test_panoptic_seg(seed, name, within_mask):
    placement, outputs = PLACEMENTS[name], random_outputs(seed)
    merging = MaskFormerMerging(0.5, 0.5, 0.6, 0.6, within_mask=within_mask)
    for image in (0, 1):
        ids, segments = postprocessor(merging, panoptic=True)(outputs, image, placement)[
            "panoptic_seg"
        ]
        rules = {"score_threshold": 0.5, "overlap_threshold": 0.4, "within_mask": within_mask}
        official, infos = official_steps.merge(*large(outputs, image, placement), THINGS, **rules)
        assert few_differ(ids, official)
        assert [{k: s[k] for k in ("id", "isthing", "category_id")} for s in segments] == infos
        assert len(infos) > 1
        scores = outputs.queries["queries"].logits[-1][image].softmax(1)
        for segment in segments:
            assert segment["area"] == (ids == segment["id"]).sum()
            assert segment["score"] == scores[segment["query"], segment["category_id"]]


@pytest.mark.parametrize("within_mask", [True, False])
def test_pixels_where_no_mask_is_above_0_go_to_the_first_query(within_mask):
    """The sigmoid of -200 is 0 in float32."""
    outputs = random_outputs(1)
    queries = outputs.queries["queries"]
    queries.masks[-1][..., :20] = -200
    rules = {"score_threshold": 0.3, "within_mask": within_mask}
    merging = MaskFormerMerging(**rules, thing_overlap_threshold=0.9, stuff_overlap_threshold=0.9)
    ids, _ = postprocessor(merging, panoptic=True)(outputs, 0, SAME_SIZE)["panoptic_seg"]
    official, _ = official_steps.merge(
        *large(outputs, 0, SAME_SIZE), THINGS, **rules, overlap_threshold=0.1
    )
    assert torch.equal(ids.long(), official)


def test_a_share_at_the_threshold_is_kept():
    """8 of 10 pixels are won where 0.2 may be lost, and 7 are too few."""
    row = torch.full((2, 1, 10), -9.0)
    row[0] = 1.0
    for taken, found in ((2, 2), (3, 1)):
        row[1, 0, :taken] = 9.0
        logits = torch.tensor([[0.0, 9, 0, 0, 0, 0], [0, 0, 0, 0, 9, 0]])
        outputs = SegmenterOutputs({"queries": QueryOutputs([logits[None]], [row[None].clone()])})
        size = (1, 10)
        for lost in (0.2, 1 - 0.8):
            merging = MaskFormerMerging(0.5, 0.5, lost, lost)
            made = postprocessor(merging, panoptic=True)(
                outputs, 0, Placement(size, size, size, stride=1)
            )
            assert len(made["panoptic_seg"][1]) == found


@pytest.mark.parametrize("name", PLACEMENTS)
def test_sem_seg_beside_other_results(name):
    placement, outputs = PLACEMENTS[name], random_outputs(0)
    logits, masks = large(outputs, 1, placement)
    expected = torch.einsum("qk,qhw->khw", logits.softmax(1)[:, :-1], masks.sigmoid())
    for other in ("panoptic", "instances"):
        made = postprocessor(semantic=True, **{other: True})(outputs, 1, placement)["sem_seg"]
        torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", PLACEMENTS)
def test_sem_seg_alone_is_summed_up_on_the_canvas(name):
    placement, outputs = PLACEMENTS[name], random_outputs(0)
    logits, masks = large(outputs, 1, placement.whole_canvas)
    summed = torch.einsum("qk,qhw->khw", logits.softmax(1)[:, :-1], masks.sigmoid())
    height, width = placement.image
    cropped = summed[None, :, :height, :width]
    expected = F.interpolate(cropped, placement.output, mode="bilinear")[0]
    made = postprocessor(semantic=True)(outputs, 1, placement)["sem_seg"]
    torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("panoptic", [True, False])
@pytest.mark.parametrize("name", PLACEMENTS)
def test_instances(name, panoptic):
    placement, outputs = PLACEMENTS[name], random_outputs(2)
    outputs.queries["queries"].masks[-1][:, ::3] -= 40  # these have no pixels
    logits, masks = large(outputs, 0, placement)
    scores, pairs = logits.softmax(1)[:, :-1].flatten().topk(30)
    queries, classes = pairs // NUM_CLASSES, pairs % NUM_CLASSES
    if panoptic:
        things = torch.isin(classes, torch.tensor(THINGS))
        scores, queries, classes = scores[things], queries[things], classes[things]
    pixels = masks[queries] > 0
    areas = pixels.flatten(1).sum(1)
    inside = (masks[queries].sigmoid() * pixels).flatten(1).sum(1)
    scores = scores * inside / (areas + 1e-6)
    order = scores.argsort(descending=True, stable=True)
    kinds = {"panoptic": panoptic, "instances": True, "max_instances": 30}
    official = postprocessor(**kinds, official_instances=True)(outputs, 0, placement)["instances"]
    torch.testing.assert_close(official.scores, scores[order], rtol=1e-4, atol=1e-6)
    assert torch.equal(official.pred_classes, classes[order])
    assert few_differ(official.pred_masks, pixels[order])
    assert not official.pred_boxes.tensor.any()
    ours = postprocessor(**kinds)(outputs, 0, placement)["instances"]
    assert 0 < len(ours) == (areas > 0).sum() < len(official)
    assert torch.equal(ours.scores, official.scores[: len(ours)])
    for mask, box in zip(ours.pred_masks, ours.pred_boxes.tensor.tolist(), strict=True):
        y, x = mask.nonzero().unbind(1)
        assert box == [x.min(), y.min(), x.max() + 1, y.max() + 1]


def test_instances_are_at_most_all_pairs():
    made = postprocessor(instances=True, max_instances=10_000)(random_outputs(0), 0, SAME_SIZE)
    assert 0 < len(made["instances"]) <= QUERIES * NUM_CLASSES


def test_no_query_is_kept():
    outputs = random_outputs(0)
    outputs.queries["queries"].logits[-1][..., -1] += 100
    ids, segments = postprocessor(panoptic=True)(outputs, 0, SAME_SIZE)["panoptic_seg"]
    assert segments == [] and not ids.any() and ids.shape == SAME_SIZE.output


def test_mask_wise_merging_is_possible_too():
    made = postprocessor(MaskWiseMerging(), panoptic=True)(random_outputs(0), 0, SAME_SIZE)
    assert len(made["panoptic_seg"][1]) > 1


@pytest.mark.parametrize("name", PLACEMENTS)
def test_pixel_logits_are_enlarged_cut_and_resized(name):
    placement = PLACEMENTS[name]
    logits = torch.randn(2, 2, NUM_CLASSES, 34, 48, generator=torch.Generator().manual_seed(0))
    enlarged = F.interpolate(logits[1], scale_factor=4, mode="bilinear")
    height, width = placement.image
    cropped = enlarged[1:, :, :height, :width]
    expected = F.interpolate(cropped, placement.output, mode="bilinear")[0]
    made = postprocessor(semantic=True)(SegmenterOutputs(pixel_logits=list(logits)), 1, placement)
    assert made.keys() == {"sem_seg"} and torch.equal(made["sem_seg"], expected)


@pytest.mark.parametrize(("kind", "maps"), [("panoptic", 1), ("instances", 1), ("semantic", 5)])
def test_masks_become_large_one_after_the_other(kind, maps):
    """No result needs more float maps at once than it has itself."""
    placement = Placement((128, 1024), (120, 1000), (120, 1000), stride=8)
    outputs = random_outputs(0, placement)
    with LargestFloats() as largest:
        postprocessor(**{kind: True})(outputs, 0, placement)
    assert 0 < largest.count <= maps * 128 * 1024


# ---------------------------------------------------------------- from a config


def config(*options):
    cfg = small_config()
    cfg.MODEL.POSTPROCESSING.SCORE_THRESHOLD = 0.8
    cfg.merge_from_list(list(options))
    return cfg


def test_mask2formers_keys():
    cfg = config("MODEL.POSTPROCESSING.MERGING", "mask2former", "TEST.DETECTIONS_PER_IMAGE", 7)
    made = build_postprocessor(cfg, Classes((1, 4), (0, 2, 3)))
    assert made.max_instances == 7
    assert made.merging == MaskFormerMerging(0.8, 0.5, 0.4, 0.2, within_mask=True)


def test_pixels_have_semantic_results_alone():
    names = (
        "MODEL.META_ARCHITECTURE",
        "PerPixelBaseline",
        "MODEL.POSTPROCESSING.SEMANTIC_ON",
        True,
    )
    with pytest.raises(UserError, match=r"PerPixelBaseline has semantic results alone: set .*"):
        build_postprocessor(config(*names), Classes((1, 4), (0, 2, 3)))
    off = ("MODEL.POSTPROCESSING.PANOPTIC_ON", False)
    assert build_postprocessor(config(*names, *off), Classes((1, 4), (0, 2, 3))).semantic


# ---------------------------------------------------------------- resizing by way of the canvas


@pytest.mark.parametrize("name", PLACEMENTS)
@pytest.mark.parametrize("kind", ["score", "logit"])
def test_boxes_hold_all_that_is_above_the_threshold(name, kind):
    placement = PLACEMENTS[name]
    masks = random_outputs(4, offset=-9).queries["queries"].masks[-1][0]
    whole = official_steps.resize_all(masks.relu() if kind == "score" else masks, placement)
    values = whole if kind == "score" else whole.sigmoid()
    via = placement.canvas, placement.image
    resized = ResizedMasks(masks.relu() if kind == "score" else masks, placement.output, kind, via)
    left = dict(enumerate(values.clone()))
    for index, box, found in resized.regions(0.5):
        torch.testing.assert_close(found, values[index][box], rtol=1e-4, atol=1e-5)
        left[index][box] = 0
    assert all((mask <= 0.5).all() for mask in left.values())
    assert (values.flatten(1).amax(1) <= resized.peaks()).all()


def test_strips_are_the_whole_masks():
    masks = random_outputs(5).queries["queries"].masks[-1][0]
    placement = PLACEMENTS["larger"]
    resized = ResizedMasks(masks, placement.output, "logit", (placement.canvas, placement.image))
    strips = list(resized.strips(width=64))
    assert [columns.start for columns, _ in strips] == [0, 64, 128, 192, 256]
    whole = official_steps.resize_all(masks, placement).sigmoid()
    torch.testing.assert_close(torch.cat([x for _, x in strips], 2), whole, rtol=1e-4, atol=1e-5)
