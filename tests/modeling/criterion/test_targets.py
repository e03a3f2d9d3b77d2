"""Ground truth in the terms of the model."""

from dataclasses import replace

import pytest
import torch
from small_models import segments

from d2_psformer.d2.structures import BitMasks
from d2_psformer.layers import box_xyxy_to_cxcywh
from d2_psformer.modeling.criterion import IGNORE, Targets, prepare_targets
from d2_psformer.modeling.criterion.targets import MatchedTargets
from d2_psformer.utils.errors import UserError

# things and stuff interleaved, with ids that stand for nothing
THINGS, STUFF = (5, 2, 7), (0, 1, 6)


def prepare(instances, canvas=(24, 30)) -> Targets:
    return prepare_targets(instances, THINGS, STUFF, canvas)


def test_things_come_first_then_stuff_by_class():
    targets = prepare(segments(24, 30, [7, 6, 5, 7, 0]))
    assert targets.classes.tolist() == [7, 5, 7, 0, 6]
    assert targets.is_thing.tolist() == [True] * 3 + [False] * 2
    assert targets.masks.shape == (5, 24, 30) and targets.masks.dtype == torch.bool
    assert targets.image_size == (24, 30) and len(targets) == 5
    assert targets.scale.tolist() == [[30, 24, 30, 24]] * 5


def test_stuff_segments_of_one_class_become_one():
    instances = segments(24, 30, [6, 7, 6, 0])
    targets = prepare(instances)
    assert targets.classes.tolist() == [7, 0, 6]
    masks = instances.gt_masks.tensor
    assert torch.equal(targets.masks[0], masks[1])
    assert torch.equal(targets.masks[1], masks[3])
    assert torch.equal(targets.masks[2], masks[0] | masks[2])


def test_boxes_of_stuff_are_around_the_whole_class():
    instances = segments(20, 30, [0, 7, 6, 5, 0])
    targets = prepare(instances, (32, 32))
    boxes = BitMasks(targets.masks).get_bounding_boxes().tensor
    size = torch.tensor([30.0, 20, 30, 20])
    torch.testing.assert_close(targets.boxes, box_xyxy_to_cxcywh(boxes / size))


def test_boxes_of_things_are_those_that_were_given():
    """An augmentation may know them better than the mask does."""
    instances = segments(20, 30, [7])
    instances.gt_boxes.tensor[:] = torch.tensor([3.0, 4, 9, 12])
    expected = torch.tensor([[6 / 30, 8 / 20, 6 / 30, 8 / 20]])
    torch.testing.assert_close(prepare(instances).boxes, expected)


def test_boxes_belong_to_the_image_and_masks_to_the_canvas():
    targets = prepare(segments(24, 30, [5]), (32, 64))
    torch.testing.assert_close(targets.boxes, torch.tensor([[0.5, 0.5, 1.0, 1.0]]))
    assert targets.masks.shape == (1, 32, 64)
    assert targets.masks[0, :24, :30].all()
    assert targets.masks.sum() == 24 * 30, "padding is background"


@pytest.mark.parametrize("classes", [[], [5], [1]])
def test_kinds_may_be_missing(classes):
    targets = prepare(segments(24, 30, classes), (24, 32))
    assert targets.classes.tolist() == classes and targets.boxes.shape == (len(classes), 4)
    assert targets.masks.shape == (len(classes), 24, 32)
    assert targets.boxes.dtype == torch.float32 and targets.classes.dtype == torch.long


@pytest.mark.parametrize("unknown", [-1, 3, 8])
def test_an_unknown_class_is_named(unknown):
    message = rf"Class id {unknown} is not in the 3 thing and 3 stuff classes.*DATASETS.TRAIN"
    with pytest.raises(UserError, match=message):
        prepare(segments(24, 30, [5, unknown]))


def test_padding_of_the_mapper_is_no_part_of_the_image():
    """The instances' image is padded from 16 x 20 to 24 x 30, then to the canvas."""
    instances = segments(24, 30, [5])
    instances.gt_boxes.tensor[:] = torch.tensor([0.0, 0, 10, 16])
    targets = prepare_targets(instances, THINGS, STUFF, (32, 32), image_size=(16, 20))
    assert targets.image_size == (16, 20) and targets.masks.shape == (1, 32, 32)
    torch.testing.assert_close(targets.boxes, torch.tensor([[0.25, 0.5, 0.5, 1.0]]))


def test_empty_segments_are_kept():
    """Their boxes are empty too."""
    instances = segments(24, 30, [7, 6, 5, 0])
    instances.gt_masks.tensor[:2] = False
    instances.gt_boxes.tensor[0] = 0
    targets = prepare(instances)
    assert targets.classes.tolist() == [7, 5, 0, 6]
    assert targets.masks.flatten(1).any(1).tolist() == [False, True, True, False]
    assert targets.boxes.any(1).tolist() == [False, True, True, False]


# ---------------------------------------------------------------- class maps


def test_a_class_map_is_painted_from_the_masks():
    targets = prepare(segments(24, 30, [7, 6, 5]), (26, 32))
    semantic = targets.semantic
    assert semantic.dtype == torch.long and semantic.shape == (26, 32)
    for class_id, mask in zip(targets.classes, targets.masks, strict=True):
        assert (semantic[mask] == class_id).all()
    assert (semantic[~targets.masks.any(0)] == IGNORE).all() and (
        semantic == IGNORE
    ).sum() == 26 * 32 - 24 * 30


def test_where_masks_overlap_the_first_counts():
    targets = prepare(segments(24, 30, [5, 7, 0]))
    masks = torch.stack([targets.masks[0], ~targets.masks[2], torch.ones(24, 30, dtype=torch.bool)])
    semantic = replace(targets, masks=masks).semantic
    assert torch.equal(semantic == 5, masks[0])
    assert torch.equal(semantic == 7, masks[1] & ~masks[0])
    assert not (semantic == IGNORE).any()
    assert (prepare(segments(8, 8, []), (8, 8)).semantic == IGNORE).all()


def test_a_given_class_map_is_padded():
    given = torch.randint(8, (24, 30))
    targets = prepare_targets(segments(24, 30, [5]), THINGS, STUFF, (26, 32), sem_seg=given)
    assert torch.equal(targets.semantic[:24, :30], given)
    assert (targets.semantic == IGNORE).sum() == 26 * 32 - 24 * 30
    view = targets.of_classes([7, 5])
    assert set(view.semantic.unique().tolist()) == {1, IGNORE}, "in the numbers of the view"


# ---------------------------------------------------------------- views


@pytest.mark.parametrize(
    ("ids", "classes", "rows"),
    [
        (THINGS, [2, 0, 1], [0, 1, 2]),
        (STUFF, [1, 2], [3, 4]),
        (THINGS + STUFF, [2, 0, 1, 4, 5], [0, 1, 2, 3, 4]),
        (STUFF + THINGS, [5, 3, 4, 1, 2], [0, 1, 2, 3, 4]),
        ([6], [0], [4]),
        ([3], [], []),
        ([], [], []),
    ],
)
def test_a_view_numbers_its_classes_by_their_place(ids, classes, rows):
    targets = prepare(segments(24, 30, [7, 6, 5, 2, 1, 6]))
    view = targets.of_classes(ids)
    assert view.classes.tolist() == classes and view.classes.dtype == torch.long
    for name in ("boxes", "masks", "is_thing"):
        assert torch.equal(getattr(view, name), getattr(targets, name)[rows]), name
    assert view.image_size == targets.image_size


def test_a_view_of_nothing():
    view = prepare(segments(8, 8, []), (8, 8)).of_classes(THINGS)
    assert view.boxes.shape == (0, 4) and view.masks.shape == (0, 8, 8) and len(view) == 0


def test_a_view_by_a_tensor_of_ids():
    view = prepare(segments(24, 30, [7, 0])).of_classes(torch.tensor(THINGS))
    assert view.classes.tolist() == [2]


# ---------------------------------------------------------------- matched


def test_matched_targets_know_their_images():
    images = [
        prepare(segments(h, w, classes), (40, 40))
        for h, w, classes in [(24, 30, [5, 7]), (20, 40, [1]), (40, 10, [7])]
    ]
    empty = torch.zeros(0, dtype=torch.long)
    matches = [(torch.tensor([3, 8]), torch.tensor([1, 0])), (empty, empty)]
    matches.append((torch.tensor([4]), torch.tensor([0])))
    matched = MatchedTargets.of(images, matches, lambda chosen: [t.masks for t in chosen])
    assert matched.images.tolist() == [0, 0, 2]
    assert matched.queries.tolist() == [3, 8, 4]
    assert matched.classes.tolist() == [7, 5, 7]
    assert matched.scale.tolist() == [[30, 24, 30, 24]] * 2 + [[10, 40, 10, 40]]
    assert torch.equal(matched.boxes, torch.cat([images[0].boxes[[1, 0]], images[2].boxes]))
    assert matched.counts == [2, 0, 1]
    for masks, image, rows in zip(matched.sample, images, ([1, 0], [], [0]), strict=True):
        assert torch.equal(masks, image.masks[rows])
    assert MatchedTargets.of(images, matches).sample is None
