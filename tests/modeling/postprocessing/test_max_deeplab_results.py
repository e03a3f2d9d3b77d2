"""MaX-DeepLab's results where the image is a part of the canvas and the output has another size."""

import pytest
import torch
import torch.nn.functional as F
from largest_floats import LargestFloats
from small_models import MASKFORMER, VERSION_1, check_results, small_config

from d2_psformer.classes import Classes
from d2_psformer.modeling.outputs import SOFTMAX, QueryOutputs, SegmenterOutputs
from d2_psformer.modeling.postprocessing import (
    MaskFormerMerging,
    MaXDeepLabMerging,
    MaXDeepLabPostprocessor,
    Placement,
    Postprocessor,
    ResizedMasks,
    build_postprocessor,
)
from d2_psformer.utils.errors import UserError

MERGING = MaXDeepLabMerging(0.7, 0.4)
THINGS, CLASSES = (0, 1, 2), 5
KINDS = {"semantic": True, "instances": True}


def place(canvas, image, output) -> Placement:
    return Placement(canvas, image, output, stride=4, aligned_corners=True)


def outputs_of(masks: torch.Tensor, classes: list[int], num_classes: int = CLASSES):
    """Queries that are sure of their class; a negative number is "no object"."""
    logits = 20 * F.one_hot(torch.tensor(classes) % (num_classes + 1), num_classes + 1).float()
    return SegmenterOutputs(
        {"queries": QueryOutputs([logits[None]], [masks[None]], mask_kind=SOFTMAX)}
    )


def random_outputs(canvas, queries: int = 12, seed: int = 0) -> SegmenterOutputs:
    random = torch.Generator().manual_seed(seed)
    cells = [(side - 1) // 4 + 1 for side in canvas]
    masks = 4 * torch.randn(queries, *cells, generator=random)
    return outputs_of(masks, [k % (CLASSES + 1) for k in range(queries)])


def results(outputs, placement, merging=MERGING, things=THINGS, classes=CLASSES, **kinds) -> dict:
    return MaXDeepLabPostprocessor(merging, things, classes, **kinds)(outputs, 0, placement)


def nearest(canvas_map, placement: Placement):
    """TensorFlow's rule, pixel by pixel."""
    rows, columns = (
        [int(i * (old - 1) / max(new - 1, 1) + 0.5) for i in range(new)]
        for old, new in zip(placement.image, placement.output, strict=True)
    )
    return canvas_map[..., rows, :][..., columns]


@pytest.mark.parametrize(
    ("canvas", "image", "output"),
    [
        ((65, 97), (65, 97), (65, 97)),
        ((65, 97), (50, 97), (100, 194)),
        ((65, 97), (65, 80), (31, 47)),
        ((33, 33), (33, 1), (480, 1)),
        ((1, 1), (1, 1), (1, 1)),
        ((17, 17), (1, 1), (3, 4)),
    ],
)
def test_outputs_show_the_nearest_pixels_of_the_canvas(canvas, image, output):
    outputs, placement = random_outputs(canvas), place(canvas, image, output)
    found = results(outputs, placement, **KINDS)
    check_results(found, output, THINGS, CLASSES)
    whole = results(outputs, place(canvas, canvas, canvas), **KINDS)

    def queries(result) -> torch.Tensor:
        id_map, segments = result["panoptic_seg"]
        return torch.tensor([-1, *(segment["query"] for segment in segments)])[id_map.long()]

    assert torch.equal(queries(found), nearest(queries(whole), placement))
    expected = nearest(whole["sem_seg"], placement)
    torch.testing.assert_close(found["sem_seg"], expected, rtol=1e-5, atol=1e-6)


def test_masks_are_those_of_aligned_corners():
    masks = torch.randn(3, 9, 13)
    large = F.interpolate(masks[None], (33, 49), mode="bilinear", align_corners=True)[0]
    resized = ResizedMasks(masks, (33, 49), SOFTMAX, aligned_corners=True)
    for index, box, values in resized.regions(0.0):
        torch.testing.assert_close(values, large.softmax(0)[index][box])
    strips = torch.cat([values for _, values in resized.strips(width=10)], 2)
    torch.testing.assert_close(strips, large.softmax(0))


def bands(*widths: int) -> torch.Tensor:
    """Masks of 17 rows (pixels) with one band of so many columns each, from left to right."""
    owner = torch.repeat_interleave(torch.arange(len(widths)), torch.tensor(widths))
    return 50.0 * (owner == torch.arange(len(widths))[:, None, None]).expand(-1, 17, -1)


def areas(found: dict) -> dict[int, int]:
    """Pixels of the segment of every query that has one."""
    return {s["query"]: s["area"] for s in found["panoptic_seg"][1]}


def test_areas_are_counted_on_the_canvas_of_things_each_and_of_stuff_together():
    size, image = (17, 17), (17, 13)
    outputs = outputs_of(bands(5, 3, 3, 2, 4), [0, 0, 3, 3, 1])
    placement = Placement(size, image, image, stride=1, aligned_corners=True)

    def found(things: int, stuff: int) -> dict[int, int]:
        return areas(results(outputs, placement, MaXDeepLabMerging(0.7, 0.4, things, stuff)))

    # the thing of class 1 lies in the padding; the two bands of class 3 are one segment
    assert found(0, 0) == {0: 85, 1: 51, 2: 85}
    assert found(52, 85) == {0: 85, 2: 85}
    assert found(51, 86) == {0: 85, 1: 51}
    clipped = Placement(size, (17, 7), (17, 7), stride=1, aligned_corners=True)
    partly = results(outputs, clipped, MaXDeepLabMerging(0.7, 0.4, 51, 86))
    assert areas(partly) == {0: 85, 1: 34}, "what the padding hides counts for the limit"


def test_pixels_of_queries_that_are_not_kept_are_void():
    outputs = outputs_of(bands(5, 6, 6), [0, -1, 3])
    placement = Placement((17, 17), (17, 17), (17, 17), 1, aligned_corners=True)
    id_map, _ = results(outputs, placement)["panoptic_seg"]
    assert (id_map[:, 5:11] == 0).all() and (id_map[:, :5] == 1).all()


def test_nothing_is_kept():
    placement = place((33, 33), (33, 20), (40, 30))
    found = results(outputs_of(torch.randn(4, 9, 9), [-1] * 4), placement, **KINDS)
    check_results(found, (40, 30), THINGS, CLASSES)
    assert found["panoptic_seg"][1] == [] and not found["panoptic_seg"][0].any()


def test_classes_without_things():
    placement = place((33, 33), (33, 33), (33, 33))
    found = results(random_outputs((33, 33)), placement, things=(), **KINDS)
    check_results(found, (33, 33), (), CLASSES)
    assert len(found["instances"]) == 0 and found["panoptic_seg"][1]


def test_instances_are_the_pixels_with_enough_of_a_share():
    outputs = outputs_of(bands(5, 8, 4), [0, 3, 1])
    placement = Placement((17, 17), (17, 17), (17, 17), 1, aligned_corners=True)
    instances = results(outputs, placement, instances=True)["instances"]
    assert (instances.scores[:2] > 0.99).all() and (instances.scores[2:] < 0.01).all()
    areas = instances.pred_masks.sum((1, 2)).tolist()
    boxes = instances.pred_boxes.tensor.tolist()
    found = sorted(zip(instances.pred_classes[:2].tolist(), areas[:2], boxes[:2], strict=True))
    assert found == [(0, 85, [0, 0, 5, 17]), (1, 68, [13, 0, 17, 17])]


def test_other_mergings_take_masks_with_aligned_corners_too():
    canvas = (33, 49)
    postprocessor = Postprocessor(MaskFormerMerging(0.5), THINGS, CLASSES, **KINDS)
    found = postprocessor(random_outputs(canvas), 0, place(canvas, (20, 49), (60, 70)))
    check_results(found, (60, 70), THINGS, CLASSES)


@pytest.mark.parametrize("kind", ["panoptic", "instances", "semantic"])
def test_not_all_masks_are_large_at_once(kind):
    """All of them are wide, which is a quarter, or large in a strip."""
    size = (257, 257)
    outputs = random_outputs(size, queries=128)
    with LargestFloats() as largest:
        results(outputs, place(size, size, size), **{"panoptic": False, kind: True})
    assert 0 < largest.count <= 128 / 3 * size[0] * size[1]


def config(**keys):
    prefix = "MODEL.POSTPROCESSING."
    chosen = {f"{prefix}{key}": value for key, value in keys.items()}
    return small_config(**MASKFORMER | {f"{prefix}MERGING": "max_deeplab"} | chosen)


def test_every_key_is_used():
    keys = {"SCORE_THRESHOLD": 0.6, "MASK_THRESHOLD": 0.3}
    cfg = config(**keys, THING_AREA_LIMIT=100, STUFF_AREA_LIMIT=1600, INSTANCE_ON=True)
    made = build_postprocessor(cfg, Classes((1, 4), (0, 2)))
    merging = MaXDeepLabMerging(0.6, 0.3, 100, 1600)
    assert made == MaXDeepLabPostprocessor(merging, (1, 4), 5, instances=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"THING_AREA_LIMIT": -1}, "thing_area_limit is -1: it must be at least 0"),
        ({"STUFF_AREA_LIMIT": -1}, "stuff_area_limit is -1: it must be at least 0"),
        ({"MASK_THRESHOLD": 1.0}, "mask_threshold is 1.0: it must be at least 0 and below 1"),
    ],
)
def test_wrong_values(options, message):
    with pytest.raises(UserError, match=message):
        build_postprocessor(config(**options), Classes((1, 4), (0, 2)))


@pytest.mark.parametrize("variant", [{}, VERSION_1])
def test_panoptic_segformer_has_other_mergings(variant):
    cfg = small_config(**{"MODEL.POSTPROCESSING.MERGING": "max_deeplab"}, **variant)
    with pytest.raises(UserError, match=r"PanopticSegFormer.* has none: set mask_wise"):
        build_postprocessor(cfg, Classes((1, 4), (0, 2)))
