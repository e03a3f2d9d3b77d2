"""Ground truth in the terms of the model."""

import pytest
import torch
from d2_psformer.modeling.targets import (
    BatchedThings,
    all_as_things,
    prepare_targets,
    with_centres_of_mass,
)
from small_models import segments

from d2_psformer.classes import Classes
from d2_psformer.d2.structures import BitMasks
from d2_psformer.layers import box_xyxy_to_cxcywh

# things last, and an id that stands for nothing
LAYOUT = Classes(thing_ids=(5, 7), stuff_ids=(0, 1, 2))


def test_things_and_stuff_are_split_and_renumbered():
    targets = prepare_targets(segments(24, 30, [7, 2, 5, 7]), LAYOUT, (24, 30))
    assert targets.thing_classes.tolist() == [1, 0, 1]
    assert targets.stuff_classes.tolist() == [2]
    assert targets.thing_masks.shape == (3, 24, 30) and targets.stuff_masks.shape == (1, 24, 30)
    assert targets.image_size == (24, 30)


def test_stuff_segments_of_one_class_become_one():
    instances = segments(24, 30, [2, 7, 2, 0])
    targets = prepare_targets(instances, LAYOUT, (24, 30))
    assert targets.stuff_classes.tolist() == [0, 2]
    masks = instances.gt_masks.tensor
    assert torch.equal(targets.stuff_masks[0], masks[3])
    assert torch.equal(targets.stuff_masks[1], masks[0] | masks[2])


def test_boxes_belong_to_the_image_and_masks_to_the_canvas():
    instances = segments(24, 30, [5])
    targets = prepare_targets(instances, LAYOUT, (32, 64))
    torch.testing.assert_close(targets.thing_boxes, torch.tensor([[0.5, 0.5, 1.0, 1.0]]))
    assert targets.thing_masks.shape == (1, 32, 64)
    assert targets.thing_masks[0, :24, :30].all()
    assert targets.thing_masks.sum() == 24 * 30, "padding is background"


@pytest.mark.parametrize("classes", [[], [5], [1]])
def test_kinds_may_be_missing(classes):
    targets = prepare_targets(segments(24, 30, classes), LAYOUT, (24, 32))
    assert len(targets.thing_classes) == len(targets.thing_boxes) == classes.count(5)
    assert len(targets.stuff_classes) == len(targets.stuff_masks) == classes.count(1)
    assert targets.thing_masks.shape[1:] == targets.stuff_masks.shape[1:] == (24, 32)


@pytest.mark.parametrize("unknown", [-1, 3, 8])
def test_an_unknown_class_is_named(unknown):
    message = rf"Class id {unknown} is not in the 2 thing and 3 stuff classes.*DATASETS.TRAIN"
    with pytest.raises(ValueError, match=message):
        prepare_targets(segments(24, 30, [5, unknown]), LAYOUT, (24, 30))


def test_batched_things_know_their_images():
    images = [
        prepare_targets(segments(h, w, classes), LAYOUT, (40, 40))
        for h, w, classes in [(24, 30, [5, 7]), (20, 40, [1]), (40, 10, [7])]
    ]
    things = BatchedThings.of(images)
    assert things.counts == [2, 0, 1]
    assert things.classes.tolist() == [0, 1, 1]
    assert things.scale.tolist() == [[30, 24, 30, 24]] * 2 + [[10, 40, 10, 40]]
    empty = torch.zeros(0, dtype=torch.long)
    matches = [(torch.tensor([3, 8]), torch.tensor([1, 0])), (empty, empty)]
    matches.append((torch.tensor([4]), torch.tensor([0])))
    image, query, thing = things.flatten(matches)
    assert image.tolist() == [0, 0, 2]
    assert query.tolist() == [3, 8, 4]
    assert thing.tolist() == [1, 0, 2]


def test_stuff_joins_the_things_to_be_matched_with_them():
    instances = segments(20, 30, [0, 7, 2, 5, 0])
    split = prepare_targets(instances, LAYOUT, (32, 32))
    joined = all_as_things(split, LAYOUT.num_things)
    # model indices: things 0 and 1, then stuff
    assert joined.thing_classes.tolist() == [1, 0, 2, 4]
    assert joined.thing_masks.shape == (4, 32, 32)
    assert len(joined.stuff_classes) == len(joined.stuff_masks) == 0
    assert torch.equal(joined.thing_masks[2], split.stuff_masks[0])
    torch.testing.assert_close(joined.thing_boxes[:2], split.thing_boxes)
    # class 0 is there twice, as one segment with one box around both
    boxes = BitMasks(joined.thing_masks).get_bounding_boxes().tensor
    size = torch.tensor([30.0, 20, 30, 20])
    torch.testing.assert_close(joined.thing_boxes, box_xyxy_to_cxcywh(boxes / size))


def test_joining_nothing():
    joined = all_as_things(prepare_targets(segments(8, 8, []), LAYOUT, (8, 8)), 2)
    assert joined.thing_boxes.shape == (0, 4) and joined.thing_masks.shape == (0, 8, 8)


@pytest.mark.parametrize("classes", [[5, 7, 5], []])
def test_centres_of_mass(classes):
    """Normalised to the valid image, not to the canvas; sizes stay."""
    instances = segments(20, 30, classes)
    target = prepare_targets(instances, LAYOUT, (32, 32))
    moved = with_centres_of_mass(target)
    for mask, place, box in zip(
        instances.gt_masks.tensor, moved.thing_boxes, target.thing_boxes, strict=True
    ):
        y, x = mask.nonzero().float().mean(0)
        torch.testing.assert_close(place[:2], torch.stack([(x + 0.5) / 30, (y + 0.5) / 20]))
        assert torch.equal(place[2:], box[2:])
    assert moved.thing_boxes.shape == (len(classes), 4)
