"""How losses are matched, named, summed and weighed."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_targets import image_targets
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

from d2_psformer.layers import box_cxcywh_to_xyxy
from d2_psformer.modeling.criterion import (
    BoxL1,
    BoxOverlap,
    CrossEntropyClass,
    DenseMasks,
    Dice,
    FocalClass,
    HungarianMatcher,
    MaskBCE,
    MaskFocal,
    SetCriterion,
    SigmoidDice,
    dice_loss,
    resize_masks,
)
from d2_psformer.modeling.criterion.set_criterion import layer_suffix
from d2_psformer.modeling.outputs import QueryOutputs

LAYERS, QUERIES = 2, 8
TERMS = (FocalClass(2.0, 2.0), BoxL1(5.0, 5.0), BoxOverlap(3.0, 3.0))


def random_outputs(batch: int, mask_layers: int = 0) -> QueryOutputs:
    return QueryOutputs(
        logits=[torch.randn(batch, QUERIES, 3) for _ in range(LAYERS)],
        boxes=[torch.rand(batch, QUERIES, 4) * 0.5 + 0.2 for _ in range(LAYERS)],
        masks=[torch.rand(batch, QUERIES, 4, 6) for _ in range(mask_layers)],
    )


def things(*classes: int, **options):
    return image_targets(*classes, **options).of_classes((0, 1, 2))


@pytest.fixture
def criterion():
    return SetCriterion(TERMS, HungarianMatcher(TERMS))


def test_the_last_layer_has_the_plain_name():
    assert [f"loss{layer_suffix(i, 3)}" for i in range(3)] == ["loss_0", "loss_1", "loss"]


BATCH = [[0, 1, 3], [4], [2, 2, 2]]


def test_every_layer_and_image_is_matched_on_its_own(criterion):
    outputs, targets = random_outputs(3), [things(*classes) for classes in BATCH]
    matches = criterion.match(outputs, targets)
    assert [[len(q) for q, _ in layer] for layer in matches] == [[2, 0, 3]] * LAYERS
    for layer in range(LAYERS):
        for image, target in enumerate(targets):
            [alone] = criterion.matcher([outputs.of_image(image, layer)], [target])
            for ours, expected in zip(matches[layer][image], alone, strict=True):
                assert torch.equal(ours, expected)


def test_the_last_layer_alone_is_matched():
    outputs, targets = random_outputs(3), [things(*classes) for classes in BATCH]
    matcher = HungarianMatcher(TERMS)
    [last] = SetCriterion(TERMS, matcher, match="last").match(outputs, targets)
    expected = SetCriterion(TERMS, matcher).match(outputs, targets)[-1]
    assert [[x.tolist() for x in pair] for pair in last] == [
        [x.tolist() for x in pair] for pair in expected
    ]


def test_one_match_serves_all_layers(criterion):
    """As with match="last", or where matches of one layer are given."""
    outputs, targets = random_outputs(3), [things(*classes) for classes in BATCH]
    last = SetCriterion(TERMS, criterion.matcher, match="last")
    matches = criterion.match(outputs, targets)
    expected = criterion(outputs, targets, 1.0, [matches[-1]] * LAYERS)
    torch.testing.assert_close(last(outputs, targets, 1.0), expected)
    torch.testing.assert_close(criterion(outputs, targets, 1.0, [matches[-1]]), expected)
    each = criterion(outputs, targets, 1.0)
    torch.testing.assert_close(criterion(outputs, targets, 1.0, matches), each)
    assert each["loss_bbox_0"] != expected["loss_bbox_0"]


def test_truths_of_one_match_are_resized_once(monkeypatch):
    resized = []

    def resize(masks, *args):
        resized.append(masks.dtype)
        return resize_masks(masks, *args)

    monkeypatch.setattr("d2_psformer.modeling.criterion.masks.resize_masks", resize)
    criterion = SetCriterion([Dice(2.0, 2.0)], masks=DenseMasks(scale=2))
    outputs = QueryOutputs(masks=random_outputs(1, mask_layers=3).masks)
    criterion(outputs, [things(0, 1)], 1.0, [[(torch.arange(2), torch.arange(2))]])
    assert resized.count(torch.bool) == 1 and len(resized) == 4


def test_more_segments_than_queries(criterion):
    outputs = random_outputs(1)
    [[(queries, segments)], _] = criterion.match(outputs, [things(*[0, 1, 2] * 4)])
    assert queries.tolist() == list(range(QUERIES))
    assert len(set(segments.tolist())) == QUERIES


def test_losses_of_a_known_match(criterion):
    outputs, targets = random_outputs(1), [things(1, 2)]
    match = (torch.tensor([3, 6]), torch.tensor([1, 0]))
    losses = criterion(outputs, targets, 1.0, [[match]] * LAYERS)
    kinds = "loss_ce", "loss_bbox", "loss_giou"
    assert set(losses) == {kind + suffix for kind in kinds for suffix in ("_0", "")}
    boxes, truth = outputs.boxes[-1][0, [3, 6]], targets[0].boxes[[1, 0]]
    torch.testing.assert_close(losses["loss_bbox"], 5 * (boxes - truth).abs().sum())
    scale = torch.tensor([48.0, 32, 48, 32])
    corners = (box_cxcywh_to_xyxy(x) * scale for x in (boxes, truth))
    giou = generalized_box_iou_loss(*corners, reduction="sum")
    torch.testing.assert_close(losses["loss_giou"], 3 * giou)
    positive = torch.zeros(QUERIES, 3)
    positive[3, 2] = positive[6, 1] = 1
    focal = sigmoid_focal_loss(outputs.logits[0][0], positive, reduction="sum")
    torch.testing.assert_close(losses["loss_ce_0"], 2 * focal)


def test_losses_are_divided_by_the_segments_and_have_the_prefix(criterion):
    outputs, targets = random_outputs(2), [things(0, 1), things(2)]
    thing = SetCriterion(TERMS, criterion.matcher, prefix="thing_")
    whole, divided = criterion(outputs, targets, 1.0), thing(outputs, targets, torch.tensor(4.0))
    assert divided.keys() == {f"thing_{name}" for name in whole}
    for name, loss in whole.items():
        torch.testing.assert_close(divided[f"thing_{name}"], loss / 4)


def test_mask_losses_are_dice_at_twice_the_resolution():
    target = image_targets(0, 1, 2)
    criterion = SetCriterion([Dice(2.0, 2.0)], masks=DenseMasks(scale=2))
    masks = random_outputs(1, mask_layers=3).masks
    match = torch.tensor([0, 2, 5]), torch.tensor([2, 1, 0])
    losses = criterion(QueryOutputs(masks=masks), [target], 1.0, [[match]])
    fine = torch.nn.functional.interpolate(masks[0][:, [0, 2, 5]], (8, 12), mode="bilinear")[0]
    truth = resize_masks(target.masks[[2, 1, 0]], (8, 12))
    expected = dice_loss(fine.flatten(1), truth.flatten(1)).sum()
    assert list(losses) == ["loss_dice_0", "loss_dice_1", "loss_dice"]
    torch.testing.assert_close(losses["loss_dice_0"], 2 * expected)


def test_lists_may_have_lengths_of_their_own():
    """Masks of three blocks and of the final attention, classes and boxes of two layers."""
    terms = (*TERMS, Dice(2.0, 2.0))
    criterion = SetCriterion(terms, HungarianMatcher(terms), match="last")
    losses = criterion(random_outputs(1, mask_layers=4), [things(0, 1)], 1.0)
    assert {name for name in losses if "_dice" in name} == {
        *("loss_dice_0", "loss_dice_1", "loss_dice_2", "loss_dice")
    }
    assert {name for name in losses if "_ce" in name} == {"loss_ce_0", "loss_ce"}


KINDS = {
    "scores": (*TERMS, Dice(2.0, 2.0)),
    "softmax": (CrossEntropyClass(2.0, 2.0), MaskBCE(5.0, 5.0), SigmoidDice(5.0, 5.0)),
    "focal masks": (*TERMS, MaskFocal(20.0, 20.0)),
}


@pytest.mark.parametrize("match", ["each_layer", "last"])
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=5, deadline=None)
@given(
    images=st.permutations(range(3)),
    queries=st.permutations(range(QUERIES)),
    seed=st.integers(0, 99),
)
def test_the_order_of_images_queries_and_segments_does_not_matter(
    images, queries, seed, match, kind
):
    outputs, targets = random_outputs(3, mask_layers=2), [things(*classes) for classes in BATCH]
    if kind == "softmax":
        outputs = replace(outputs, logits=[torch.randn(3, QUERIES, 4) for _ in range(LAYERS)])
    criterion = SetCriterion(KINDS[kind], HungarianMatcher(KINDS[kind]), match=match)
    expected = criterion(outputs, targets)
    generator = torch.Generator().manual_seed(seed)
    targets = [targets[image] for image in images]
    targets = [x[torch.randperm(len(x), generator=generator)] for x in targets]
    lists = {
        name: [x[list(images)][:, list(queries)] for x in getattr(outputs, name)]
        for name in ("logits", "boxes", "masks")
    }
    found = criterion(QueryOutputs(**lists), targets)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_images_without_segments_keep_the_graph():
    outputs, targets = random_outputs(2, mask_layers=1), [things(), things(3)]
    lists = outputs.logits + outputs.boxes + outputs.masks
    for tensor in lists:
        tensor.requires_grad_()
    terms = (*TERMS, Dice(2.0, 2.0))
    losses = SetCriterion(terms, HungarianMatcher(TERMS), match="last")(outputs, targets, 1.0)
    sum(losses.values()).backward()
    assert all(tensor.grad is not None for tensor in lists)
    zero = {name for name, loss in losses.items() if loss == 0}
    assert zero == {name for name in losses if "_ce" not in name}
    assert all(logits.grad.all() for logits in outputs.logits), "all queries learn to be nothing"


def test_losses_are_computed_in_float32(criterion):
    outputs, targets = random_outputs(1, mask_layers=1), [things(0, 1)]
    criterion = SetCriterion((*TERMS, Dice(2.0, 2.0)), criterion.matcher, match="last")
    half = replace(
        outputs,
        **{name: [x.bfloat16() for x in getattr(outputs, name)] for name in ("logits", "masks")},
    )
    with torch.autocast("cpu", torch.bfloat16):
        losses = criterion(half, targets, 1.0)
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    rounded = replace(
        half, logits=[x.float() for x in half.logits], masks=[x.float() for x in half.masks]
    )
    torch.testing.assert_close(losses, criterion(rounded, targets, 1.0))
