"""Ground truth in the terms of the model."""

import pytest
import torch
from small_models import segments

from d2_psformer.class_layout import ClassLayout
from d2_psformer.modeling.targets import BatchedThings, prepare_targets

# things last, and an id that stands for nothing
LAYOUT = ClassLayout(thing_ids=(5, 7), stuff_ids=(0, 1, 2))


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
