"""Losses and gradients of MaskFormer and Mask2Former against transformers', which are independent
of ours; the random points are the same. Padding counts there, and is counted here."""

from unittest import mock

import pytest
import torch
from official_points import official_points
from small_models import small_config
from torch.nn.functional import pad

from d2_psformer.modeling.criterion import FixedMatcher, SetCriterion, Targets, total_segments
from d2_psformer.modeling.meta_arch.maskformer_losses import (
    mask2former_criterion,
    maskformer_criterion,
)
from d2_psformer.modeling.outputs import QueryOutputs
from d2_psformer.utils.errors import UserError

LAYERS, QUERIES, CLASSES, CANVAS = 3, 9, 5, (44, 60)
LOSS = {"CLASS_WEIGHT": 1.5, "MASK_WEIGHT": 7.0, "DICE_WEIGHT": 3.0, "NO_OBJECT_WEIGHT": 0.2}
# Of every image: its classes and its size.
BATCHES = {
    "two images": [([1, 4, 4], (44, 52)), ([0, 2, 3, 1, 1, 0], (31, 60))],
    "one image": [([3], CANVAS)],
    "more segments than queries": [([0, 1, 2, 3, 4] * 3, CANVAS)],
    "one image without targets": [([2, 2], CANVAS), ([], (20, 30))],
}


def criterion_config(**loss):
    loss = LOSS | {"COUNT_PADDING": True, "NUM_POINTS": 50} | loss
    return small_config(**{f"MODEL.LOSS.{key}": value for key, value in loss.items()})


def random_batch(batch) -> tuple[QueryOutputs, list[Targets]]:
    """Random outputs of every layer, and random masks inside each image, the last one empty."""
    targets = []
    for classes, (height, width) in batch:
        masks = torch.rand(len(classes), height, width) < 0.4
        masks[-1:] = False
        masks = pad(masks, (0, CANVAS[1] - width, 0, CANVAS[0] - height))
        things = torch.ones(len(classes), dtype=torch.bool)
        boxes = torch.zeros(len(classes), 4)
        targets.append(
            Targets(torch.tensor(classes, dtype=torch.long), boxes, masks, things, (height, width))
        )
    shapes = (QUERIES, CLASSES + 1), (QUERIES, CANVAS[0] // 4, CANVAS[1] // 4)
    logits, masks = (
        [2 * torch.randn(len(batch), *shape, requires_grad=True) for _ in range(LAYERS)]
        for shape in shapes
    )
    for tensor in logits + masks:
        tensor.retain_grad()
    return QueryOutputs(logits=logits, masks=masks), targets


def their_losses(criterion, outputs: QueryOutputs, targets: list[Targets]) -> dict:
    *auxiliary, last = (
        {"masks_queries_logits": masks, "class_queries_logits": logits}
        for masks, logits in zip(outputs.masks, outputs.logits, strict=True)
    )
    return criterion(
        **last,
        mask_labels=[t.masks.float() for t in targets],
        class_labels=[t.classes for t in targets],
        auxiliary_predictions=auxiliary,
    )


def assert_equal_with_gradients(ours: dict, theirs: dict, outputs: QueryOutputs) -> None:
    weights = {
        "loss_ce": ("loss_cross_entropy", LOSS["CLASS_WEIGHT"]),
        "loss_mask": ("loss_mask", LOSS["MASK_WEIGHT"]),
        "loss_dice": ("loss_dice", LOSS["DICE_WEIGHT"]),
    }
    suffixes = ["", *(f"_{layer}" for layer in range(LAYERS - 1))]
    expected = {
        name + suffix: weight * theirs[their + suffix]
        for name, (their, weight) in weights.items()
        for suffix in suffixes
    }
    assert ours.keys() == expected.keys() and len(theirs) == len(expected)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)
    tensors = outputs.logits + outputs.masks
    gradients = torch.autograd.grad(sum(ours.values()), tensors)
    torch.testing.assert_close(
        gradients, torch.autograd.grad(sum(expected.values()), tensors), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("batch", BATCHES)
def test_maskformer_equals_transformers(batch):
    maskformer = pytest.importorskip("transformers.models.maskformer.modeling_maskformer")
    outputs, targets = random_batch(BATCHES[batch])
    matcher = maskformer.MaskFormerHungarianMatcher(
        LOSS["CLASS_WEIGHT"], LOSS["MASK_WEIGHT"], LOSS["DICE_WEIGHT"]
    )
    theirs = maskformer.MaskFormerLoss(CLASSES, matcher, {}, LOSS["NO_OBJECT_WEIGHT"])
    ours = maskformer_criterion(criterion_config())(outputs, targets)
    assert_equal_with_gradients(ours, their_losses(theirs, outputs, targets), outputs)


@pytest.mark.parametrize("batch", BATCHES)
def test_mask2former_equals_transformers(batch):
    mask2former = pytest.importorskip("transformers.models.mask2former.modeling_mask2former")
    outputs, targets = random_batch(BATCHES[batch])
    config = mask2former.Mask2FormerConfig(
        num_labels=CLASSES,
        class_weight=LOSS["CLASS_WEIGHT"],
        mask_weight=LOSS["MASK_WEIGHT"],
        dice_weight=LOSS["DICE_WEIGHT"],
        no_object_weight=LOSS["NO_OBJECT_WEIGHT"],
        train_num_points=50,
        oversample_ratio=2.5,
        importance_sample_ratio=0.6,
    )
    drawn, rand = [], torch.rand

    def recording_rand(*shape, device=None):
        drawn.append(rand(*shape))
        return drawn[-1]

    with mock.patch("torch.rand", recording_rand):
        theirs = their_losses(mask2former.Mask2FormerLoss(config, {}), outputs, targets)

    def draw(index, shape):
        assert drawn[index].shape == shape
        return drawn[index]

    ours = mask2former_criterion(
        criterion_config(OVERSAMPLE_RATIO=2.5, IMPORTANCE_SAMPLE_RATIO=0.6)
    )
    with official_points(ours, draw, len(targets), LAYERS):
        ours = ours(outputs, targets)
    assert_equal_with_gradients(ours, theirs, outputs)


BUILDERS = pytest.mark.parametrize("build", [maskformer_criterion, mask2former_criterion])


@BUILDERS
@pytest.mark.parametrize("batch", [[([], CANVAS)], [([], CANVAS), ([], (20, 30))]])
def test_batches_without_targets_learn_no_object(build, batch):
    """Every output has a gradient, that of masks is zero."""
    outputs, targets = random_batch(batch)
    losses = build(criterion_config())(outputs, targets)
    sum(losses.values()).backward()
    for name, loss in losses.items():
        assert loss > 0 if "_ce" in name else loss == 0, name
    assert all(x.grad.all() for x in outputs.logits)
    assert not any(x.grad.any() for x in outputs.masks)


@BUILDERS
def test_padding_takes_no_part_by_default(build):
    """What is predicted far inside the padding, and would be a truth there, does not matter."""
    outputs, [target, _] = random_batch(BATCHES["two images"])
    [one] = [QueryOutputs(*([x[:1].detach() for x in y] for y in (outputs.logits, outputs.masks)))]
    criterion = build(criterion_config(COUNT_PADDING=False))
    torch.manual_seed(5)
    losses = criterion(one, [target])
    for masks in one.masks:
        masks[..., 52 // 4 + 1 :] = 100
    torch.manual_seed(5)
    torch.testing.assert_close(criterion(one, [target]), losses)
    counted = build(criterion_config())
    assert counted(one, [target])["loss_mask"] > 2 * losses["loss_mask"]


def test_losses_are_divided_by_all_segments():
    outputs, targets = random_batch(BATCHES["two images"])
    criterion = maskformer_criterion(criterion_config())
    losses, sums = criterion(outputs, targets), criterion(outputs, targets, 1.0)
    assert total_segments(targets) == 9
    for name, loss in losses.items():
        torch.testing.assert_close(loss, sums[name] / (1 if "_ce" in name else 9))


@BUILDERS
def test_fixed_matching(build):
    criterion = build(criterion_config(MATCHING="fixed"))
    assert isinstance(criterion, SetCriterion) and isinstance(criterion.matcher, FixedMatcher)
    with pytest.raises(UserError, match=r"^MODEL\.LOSS: MATCHING is 'greedy'"):
        build(criterion_config(MATCHING="greedy"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("NUM_POINTS", 0),
        ("OVERSAMPLE_RATIO", 0.5),
        ("IMPORTANCE_SAMPLE_RATIO", 1.5),
        ("NO_OBJECT_WEIGHT", -1.0),
        ("MASK_WEIGHT", -1.0),
    ],
)
def test_wrong_values_are_named(key, value):
    with pytest.raises(UserError, match=r"^MODEL\.LOSS: "):
        mask2former_criterion(criterion_config(**{key: value}))
