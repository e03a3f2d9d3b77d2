"""How losses are matched, summed and weighed."""

from dataclasses import replace

import pytest
import torch
import torch.distributed as dist
from d2_psformer.modeling.losses import dice_loss, sigmoid_focal_loss
from d2_psformer.modeling.matching import hungarian
from d2_psformer.modeling.targets import prepare_targets, with_centres_of_mass
from small_models import segments
from torchvision.ops import generalized_box_iou_loss

from d2_psformer.classes import Classes
from d2_psformer.layers import box_cxcywh_to_xyxy
from d2_psformer.modeling.criterion import (
    LossWeights,
    PanopticCriterion,
    layer_suffix,
    resize_masks,
)
from d2_psformer.modeling.transformer_decoder import Locations

LAYOUT = Classes((0, 1, 2), (3, 4, 5, 6))
LAYERS, QUERIES = 2, 8


def image_targets(*classes: int, size=(32, 48)):
    return prepare_targets(segments(*size, list(classes)), LAYOUT, (32, 48))


def random_locations(batch: int) -> Locations:
    shape = (LAYERS, batch, QUERIES)
    return Locations(
        queries=torch.randn(*shape, 4),
        logits=torch.randn(*shape, 3),
        boxes=torch.rand(*shape, 4) * 0.5 + 0.2,
    )


def part(locations: Locations, layers: slice, images: slice) -> Locations:
    return Locations(*(x[layers, images] for x in vars(locations).values() if x is not None))


@pytest.fixture
def criterion():
    return PanopticCriterion(LossWeights())


def test_the_last_layer_has_the_plain_name():
    assert [f"loss{layer_suffix(i, 3)}" for i in range(3)] == ["loss_0", "loss_1", "loss"]


def test_every_layer_and_image_is_matched_on_its_own(criterion):
    locations, targets = (
        random_locations(3),
        [
            image_targets(0, 1, 3),
            image_targets(4),
            image_targets(2, 2, 2, size=(20, 40)),
        ],
    )
    matches = criterion.match(locations, targets)
    assert [[len(q) for q, _ in layer] for layer in matches] == [[2, 0, 3]] * LAYERS
    for layer in range(LAYERS):
        for image, target in enumerate(targets):
            one = part(locations, slice(layer, layer + 1), slice(image, image + 1))
            [[alone]] = criterion.match(one, [target])
            for ours, expected in zip(matches[layer][image], alone, strict=True):
                assert torch.equal(ours, expected)


def test_more_things_than_queries(criterion):
    classes = [0, 1, 2] * 4
    locations = part(random_locations(1), slice(1), slice(1))
    [[(queries, things)]] = criterion.match(locations, [image_targets(*classes)])
    assert queries.tolist() == list(range(QUERIES))
    assert len(set(things.tolist())) == QUERIES


def test_location_losses_of_a_known_match(criterion):
    locations, targets = random_locations(1), [image_targets(1, 2)]
    match = (torch.tensor([3, 6]), torch.tensor([1, 0]))
    losses = criterion.location_losses(locations, [[match]] * LAYERS, targets)
    assert list(losses) == [
        *("loss_class_0", "loss_box_0", "loss_giou_0"),
        *("loss_class", "loss_box", "loss_giou"),
    ]
    boxes, truth = locations.boxes[-1, 0, [3, 6]], targets[0].thing_boxes[[1, 0]]
    torch.testing.assert_close(losses["loss_box"], 5 * (boxes - truth).abs().sum())
    scale = torch.tensor([48.0, 32, 48, 32])
    giou = generalized_box_iou_loss(
        box_cxcywh_to_xyxy(boxes) * scale, box_cxcywh_to_xyxy(truth) * scale, reduction="sum"
    )
    torch.testing.assert_close(losses["loss_giou"], 2 * giou)
    positive = torch.zeros(QUERIES, 3, dtype=torch.bool)
    positive[3, 2] = positive[6, 1] = True
    focal = sigmoid_focal_loss(locations.logits[0, 0], positive, 0.25, 2.0)
    torch.testing.assert_close(losses["loss_class_0"], 2 * focal)


def test_masks_decide_the_second_match(criterion):
    """Alike in class and box, the queries differ in their masks alone."""
    targets = [image_targets(1, 1)]
    locations = Locations(
        torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 3), torch.full((1, 1, 4, 4), 0.5)
    )
    first = (torch.tensor([0, 3]), torch.tensor([0, 1]))
    masks = resize_masks(targets[0].thing_masks, (4, 6)).flip(0)[None]
    [(rows, things)] = criterion.rematch_with_masks(locations, masks, [first], targets)
    assert rows.tolist() == [0, 1] and things.tolist() == [1, 0]


def test_centres_and_sizes_have_an_l1_loss_alone():
    """Version 1 of the paper: centre of mass and size of the mask, no GIoU."""
    mask = torch.zeros(1, 32, 48, dtype=torch.bool)
    mask[0, 4:8, 12:24] = True  # 48 pixels about (18, 6)
    mask[0, 8:20, 12:16] = True  # 48 pixels about (14, 14)
    target = image_targets(1)
    target = replace(
        target,
        thing_masks=mask,
        thing_boxes=torch.tensor([[18 / 48, 12 / 32, 12 / 48, 16 / 32]]),
    )
    target = with_centres_of_mass(target)
    expected = torch.tensor([[16 / 48, 10 / 32, 12 / 48, 16 / 32]])
    torch.testing.assert_close(target.thing_boxes, expected)
    boxes = torch.tensor([[0.5, 0.25, 0.125, 0.75]]).expand(1, 1, 1, 4)
    locations = Locations(torch.zeros(1, 1, 1, 4), None, boxes)
    match = (torch.tensor([0]), torch.tensor([0]))
    criterion = PanopticCriterion(LossWeights(giou=0.0))
    losses = criterion.location_losses(locations, [[match]], [target])
    assert set(losses) == {"loss_box"}
    distance = (0.5 - 16 / 48) + (10 / 32 - 0.25) + (0.25 - 0.125) + (0.75 - 0.5)
    assert losses["loss_box"].item() == pytest.approx(5 * distance)


def test_all_queries_are_matched_at_once_by_class_mask_and_box(criterion):
    """The cost of every pair, summed up by hand."""
    targets = [image_targets(0, 1, 2), image_targets(2, size=(20, 40)), image_targets(3)]
    locations, masks = random_locations(3), torch.rand(3, QUERIES, 4, 6)
    matches = criterion.match_with_masks(locations.logits[-1], locations.boxes[-1], masks, targets)
    assert [len(queries) for queries, _ in matches] == [3, 1, 0]
    for image, (target, match) in enumerate(zip(targets, matches, strict=True)):
        truth = resize_masks(target.thing_masks, (4, 6))
        cost = torch.zeros(QUERIES, len(truth))
        for q in range(QUERIES):
            for n in range(len(truth)):
                logit = locations.logits[-1, image, q, target.thing_classes[n]][None]
                yes, no = (
                    sigmoid_focal_loss(logit, torch.tensor([x]), 0.25, 2.0) for x in (True, False)
                )
                box, known = locations.boxes[-1, image, q], target.thing_boxes[n]
                scale = torch.tensor(target.image_size[::-1] * 2)
                giou = generalized_box_iou_loss(
                    box_cxcywh_to_xyxy(box) * scale, box_cxcywh_to_xyxy(known) * scale
                )
                dice = dice_loss(masks[image, q, None], truth[n, None], eps=1e-3).item()
                cost[q, n] = 4 * (yes - no) + 5 * (box - known).abs().sum() + 2 * giou + 2 * dice
        for ours, expected in zip(match, hungarian(cost, torch.device("cpu")), strict=True):
            assert torch.equal(ours, expected)


def test_class_losses_of_blocks_share_one_match(criterion):
    logits, targets = torch.randn(2, 1, QUERIES, 3), [image_targets(1, 2)]
    match = (torch.tensor([3, 6]), torch.tensor([1, 0]))
    losses = criterion.class_losses(logits, [match], targets)
    positive = torch.zeros(QUERIES, 3, dtype=torch.bool)
    positive[3, 2] = positive[6, 1] = True
    for name, block in [("loss_class_0", 0), ("loss_class", 1)]:
        expected = 2 * sigmoid_focal_loss(logits[block, 0], positive, 0.25, 2.0)
        torch.testing.assert_close(losses[name], expected)


def test_mask_losses_are_dice_at_twice_the_resolution(criterion):
    target = image_targets(0, 1, 2)
    masks = [torch.rand(3, 4, 6) for _ in range(2)]
    losses = criterion.mask_losses("loss_x", masks, [target.thing_masks])
    fine = torch.nn.functional.interpolate(masks[0][None], (8, 12), mode="bilinear")[0]
    expected = dice_loss(fine, resize_masks(target.thing_masks, (8, 12))).sum()
    assert list(losses) == ["loss_x_0", "loss_x"]
    torch.testing.assert_close(losses["loss_x_0"], 2 * expected)


def test_mask_losses_of_nothing_keep_the_graph(criterion):
    mask = torch.rand(0, 4, 6, requires_grad=True)
    losses = criterion.mask_losses("loss_x", [mask], [image_targets(3).thing_masks])
    assert losses["loss_x"].item() == 0
    losses["loss_x"].backward()
    assert mask.grad is not None


def test_stuff_class_loss_asks_for_presence(criterion):
    logits = torch.randn(2, 2, 4)
    losses = criterion.stuff_class_losses(logits, [image_targets(0, 4, 6, 4), image_targets(1)])
    present = torch.tensor([[False, True, False, True], [False] * 4])
    assert list(losses) == ["loss_stuff_class_0", "loss_stuff_class"]
    expected = 4 * sigmoid_focal_loss(logits[1], present, 0.25, 2.0)
    torch.testing.assert_close(losses["loss_stuff_class"], expected)


@pytest.mark.parametrize(
    ("batch", "things", "stuff"),
    [
        ([(0, 1, 2, 3)], 3 / 4 / 3, 1 / 4 / 1),
        ([(0, 1, 2, 3), (0, 4)], 2 / 3 / 2 / 2, 1 / 3 / 1 / 2),
        # at least one of each kind is counted
        ([(0, 1)], 2 / 3 / 2, 1 / 3 / 1),
        ([()], 1 / 2, 1 / 2),
    ],
)
def test_balance(criterion, batch, things, stuff):
    factors = criterion.balance([image_targets(*c) for c in batch], torch.device("cpu"))
    assert [f.item() for f in factors] == pytest.approx([things, stuff])


def test_balance_of_one_kind_alone():
    things_only = PanopticCriterion(LossWeights(), has_stuff=False)
    things, stuff = things_only.balance([image_targets(0, 1)], torch.device("cpu"))
    assert things.item() == pytest.approx(1 / 2) and stuff.item() == 0


def test_counts_are_averaged_over_processes(criterion, monkeypatch):
    """One image here, and another process whose image has 5 things and 3 stuff classes."""
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "all_reduce", lambda counts: counts.add_(torch.tensor([5.0, 3.0])))
    factors = criterion.balance([image_targets(0, 3)], torch.device("cpu"))
    assert [f.item() for f in factors] == pytest.approx([3 / 5 / 3, 2 / 5 / 2])


def test_resized_masks_have_soft_edges():
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[0, :, :1] = True
    small = resize_masks(mask, (2, 2))
    assert small.dtype == torch.float32
    assert small[0].tolist() == [[0.5, 0.0], [0.5, 0.0]]
    assert resize_masks(mask[:0], (2, 2)).shape == (0, 2, 2)
