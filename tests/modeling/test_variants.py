"""Every variant of the paper trains, and switches that contradict each other are told."""

import pytest
import torch
from d2_psformer.modeling.variants import CHOICES
from small_models import image, sample, small_model
from variant_models import JOINT, VARIANTS, VERSION_1, WITHOUT_LOCATION, build, build_filled


def total(losses: dict[str, torch.Tensor]) -> torch.Tensor:
    return sum(losses.values())


# ---------------------------------------------------------------- training

BATCHES = {
    "both kinds": [[0, 1, 3, 4]],
    "no things": [[3, 4]],
    "no stuff": [[0, 2, 2]],
    "nothing": [[]],
    "one image of each": [[0, 3], [3], [1], []],
    "more segments than queries": [[0, 1, 2] * 5 + [3]],
}


@pytest.mark.parametrize("name", VARIANTS)
def test_losses_are_finite_and_every_parameter_gets_a_gradient(name):
    """A parameter without a gradient would stop distributed training."""
    model = build(VARIANTS[name])
    sizes = [(64, 96), (50, 61), (33, 80), (64, 64)]
    for kind, classes in BATCHES.items():
        model.zero_grad()
        batch = [sample(*size, c) for size, c in zip(sizes, classes, strict=False)]
        losses = model(batch)
        assert all(x.dim() == 0 and torch.isfinite(x) and x >= 0 for x in losses.values()), kind
        total(losses).backward()
        for parameter_name, parameter in model.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None, (kind, parameter_name)
                assert torch.isfinite(parameter.grad).all(), (kind, parameter_name)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_parameter_matters(name):
    """With weights that leave no signal at zero, no gradient is zero."""
    model = build_filled(VARIANTS[name])
    total(model([sample(64, 96, [0, 1, 2, 3, 4]), sample(96, 64, [2, 1, 4], seed=3)])).backward()
    idle = {n for n, p in model.named_parameters() if p.requires_grad and not p.grad.any()}
    assert not idle


@pytest.mark.parametrize("name", VARIANTS)
def test_learns_one_image(name):
    torch.manual_seed(1)
    model = build(VARIANTS[name])
    batch = [sample(64, 64, [0, 1, 3, 4])]
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    totals = []
    for _ in range(10):
        loss = total(model(batch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        totals.append(loss.item())
    assert totals[-1] < 0.85 * totals[0]


@pytest.mark.parametrize("name", VARIANTS)
def test_the_loss_of_two_images_is_the_mean_of_each_ones(name):
    """With the same counts of both kinds."""
    model = build_filled(VARIANTS[name])
    first, second = sample(64, 64, [0, 1, 3]), sample(64, 64, [2, 0, 4], seed=5)
    with torch.no_grad():
        together = model([first, second])
        alone = [model([first]), model([second])]
    for loss, value in together.items():
        mean = (alone[0][loss] + alone[1][loss]) / 2
        torch.testing.assert_close(value, mean, rtol=1e-4, atol=1e-5, msg=loss)


def names(*kinds_and_counts: tuple[str, int]) -> set[str]:
    """Of losses: the last layer has the plain name."""
    return {
        kind + ("" if i == count - 1 else f"_{i}")
        for kind, count in kinds_and_counts
        for i in range(count)
    }


STUFF = [("loss_stuff_mask", 3), ("loss_stuff_class", 2)]
NAMES = {
    "centre": names(("loss_class", 2), ("loss_box", 2), ("loss_thing_mask", 3), *STUFF),
    "no location decoder": names(("loss_class", 2), ("loss_thing_mask", 3), *STUFF),
    "box, class of the mask": names(
        *[(f"loss_{x}", 2) for x in ("class", "box", "giou")], ("loss_thing_mask", 3), *STUFF
    ),
    "joint": names(*[(f"loss_{x}", 2) for x in ("class", "box", "giou")], ("loss_thing_mask", 3)),
    "version 1": names(("loss_class", 2), ("loss_box", 2), ("loss_thing_mask", 3)),
    "last masks alone": names(
        *[(f"loss_{x}", 2) for x in ("class", "box", "giou")],
        *[("loss_thing_mask", 1), ("loss_stuff_mask", 1), ("loss_stuff_class", 2)],
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_names_of_the_losses(name):
    """What a variant does not learn is no loss of zero, but none."""
    assert set(build(VARIANTS[name])([sample(64, 64, [0, 3])])) == NAMES[name]


def test_the_losses_of_version_1_by_hand():
    """One match, by the last class, place and mask, for all layers and blocks."""
    model = build_filled(VERSION_1)
    size, classes = (64, 96), [0, 2, 3]
    inputs = sample(*size, classes)
    losses = model([inputs])
    with torch.no_grad():
        images = model.normalizer([inputs["image"]])
        memory = model.pixel_decoder(model.backbone(images.tensor), images.padding_mask)
        locations = model.location_decoder(memory)
        masks, queries = model.thing_mask_decoder(locations.queries[-1], memory)
        logits = model.thing_mask_decoder.classify(queries)
        truth = model._targets([inputs], images)
        [(rows, segments)] = model.criterion.match_with_masks(
            logits[-1], locations.boxes[-1], masks[-1], truth
        )
    assert len(rows) == 3 and locations.logits is None
    y, x = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(96) + 0.5, indexing="ij")
    bits = inputs["instances"].gt_masks.tensor
    places = torch.tensor(
        [
            [x[m].mean() / 96, y[m].mean() / 64, (box[2] - box[0]) / 96, (box[3] - box[1]) / 64]
            for m, box in zip(bits, inputs["instances"].gt_boxes.tensor, strict=True)
        ]
    )
    weight = 1 / 3  # sums are divided by the segments, of which all are one kind
    for layer, suffix in enumerate(["_0", ""]):
        distance = (locations.boxes[layer, 0, rows] - places[segments]).abs().sum()
        torch.testing.assert_close(losses[f"loss_box{suffix}"], 5 * distance * weight)
        p = logits[layer, 0].sigmoid()
        positive = torch.zeros(12, 5, dtype=torch.bool)
        positive[rows, torch.tensor(classes)[segments]] = True
        focal = torch.where(
            positive, -0.25 * (1 - p) ** 2 * p.log(), -0.75 * p**2 * (1 - p).log()
        ).sum()
        torch.testing.assert_close(losses[f"loss_class{suffix}"], 2 * focal * weight)


def test_joint_queries_are_matched_with_things_and_stuff():
    model = build(JOINT)
    assert model.stuff_decoder is None
    assert model.location_decoder.class_embed[0].out_features == 5
    [target] = model._targets([sample(64, 64, [4, 1, 3, 0])], model.normalizer([image(64, 64)]))
    assert target.thing_classes.tolist() == [1, 0, 3, 4] and not len(target.stuff_classes)
    things, stuff = model.criterion.balance([target], torch.device("cpu"))
    assert things.item() == pytest.approx(1 / 4) and stuff.item() == 0


def test_without_supervision_blocks_have_no_parameters_of_masks():
    model = build({"MASK_SUPERVISION": "last"})
    heads = {n.rsplit(".mask_fc")[0] for n, _ in model.named_parameters() if ".mask_fc." in n}
    assert heads == {"thing_mask_decoder.tail", "stuff_decoder.mask_decoder.tail"}


# ---------------------------------------------------------------- switches


@pytest.mark.parametrize("key", CHOICES)
def test_an_unknown_choice_is_told(key):
    with pytest.raises(ValueError, match=rf"MODEL\.PSFORMER\.{key} is 'Box': use one of '"):
        build({key: "Box"})


CONTRADICTIONS = {
    r"CLASSIFY is 'location', but LOCATION_SUPERVISION 'none' has no": {
        "LOCATION_SUPERVISION": "none"
    },
    r"THING_MASK_LAYERS is 0: CLASSIFY 'mask' needs": {"CLASSIFY": "mask", "THING_MASK_LAYERS": 0},
    r"TEST.MASK_LAYERS is 1, but with MASK_SUPERVISION 'last'": {
        "MASK_SUPERVISION": "last",
        "TEST.MASK_LAYERS": 1,
    },
    r"TEST.MASK_LAYERS is 3, but THING_MASK_LAYERS is 2: give 1 to 2, or 0": {
        "TEST.MASK_LAYERS": 3
    },
    r"TEST.MASK_LAYERS is 2, but STUFF_MASK_LAYERS is 1": {
        "TEST.MASK_LAYERS": 2,
        "STUFF_MASK_LAYERS": 1,
    },
    r"TEST.MASK_LAYERS is 1, but THING_MASK_LAYERS is 0: give 0 for the tail": {
        "TEST.MASK_LAYERS": 1,
        "THING_MASK_LAYERS": 0,
    },
    r"LOSS.DICE_WEIGHT is -1.0: it must be at least 0": {"LOSS.DICE_WEIGHT": -1.0},
    r"TEST.MASK_LAYERS is -1, but": {"TEST.MASK_LAYERS": -1},
    r"MODEL.PSFORMER.REFERENCE_INIT is 'centre': use 'learned' or 'grid'": {
        "REFERENCE_INIT": "centre"
    },
    r"THING_MASK_LAYERS is -1: it must be at least 0": {"THING_MASK_LAYERS": -1},
    r"STUFF_MASK_LAYERS is 0: it must be at least 1, because": {"STUFF_MASK_LAYERS": 0},
    r"TEST.MASK_THRESHOLD is -0.5: it must be at least 0": {"TEST.MASK_THRESHOLD": -0.5},
    r"DIM_FEEDFORWARD is 0: it must be at least 1": {"DIM_FEEDFORWARD": 0},
    r"DROPOUT is 1.0: it must be at least 0 and below 1": {"DROPOUT": 1.0},
    r"CLASS_PRIOR is 0.0: it must lie between 0 and 1": {"CLASS_PRIOR": 0.0},
    r"BOX_SIZE_PRIOR is 1.0: it must lie between": {"BOX_SIZE_PRIOR": 1.0},
    r"HIDDEN_DIM is 48: it must be a multiple of 8 and of NUM_HEADS, which is 5": {"NUM_HEADS": 5},
    r"HIDDEN_DIM is 60: it must be a multiple of 8": {"HIDDEN_DIM": 60},
    r"IN_FEATURES is \[\]: name at least one": {"IN_FEATURES": []},
    r"IN_FEATURES is \['res3', 'res3'\]: name .* each once": {"IN_FEATURES": ["res3", "res3"]},
    r"IN_FEATURES is \['res4', 'res3'\], with strides \[16, 8\]: .* fine to coarse": {
        "IN_FEATURES": ["res4", "res3"]
    },
    r"NUM_FEATURE_LEVELS is 2, fewer than the 3 levels of IN_FEATURES": {"NUM_FEATURE_LEVELS": 2},
    r"ENCODER_LAYERS is 0: it must be at least 1 \(ENCODER 'none'": {"ENCODER_LAYERS": 0},
    r"NUM_FEATURE_LEVELS is 4, but with LOCATION_SUPERVISION 'none' and ENCODER 'none'": {
        **WITHOUT_LOCATION,
        "ENCODER": "none",
    },
    r"ENCODER 'single_scale' only the 3 levels of IN_FEATURES are read: set it to 3": {
        **WITHOUT_LOCATION,
        "ENCODER": "single_scale",
    },
}


@pytest.mark.parametrize("message", CONTRADICTIONS)
def test_contradictions_are_told(message):
    with pytest.raises(ValueError, match=message):
        build(CONTRADICTIONS[message])


def test_keys_that_a_variant_does_not_use_are_no_contradiction():
    build({**JOINT, "STUFF_MASK_LAYERS": 0})
    build({**WITHOUT_LOCATION, "LOCATION_LAYERS": 0})
    build({"ENCODER": "none", "ENCODER_LAYERS": 0})
    build({**JOINT, "TEST.MASK_LAYERS": 2, "STUFF_MASK_LAYERS": 1})
    build({"STUFF_MASK_LAYERS": 0}, [0, 1], [])


def test_keys_that_another_backbone_would_not_read_are_told():
    keys = {
        "MODEL.BACKBONE.NAME": "build_resnet_backbone",
        "MODEL.BACKBONE.WEIGHTS": "mine.pth",
        "MODEL.PSFORMER.CHECKPOINTING": ["backbone"],
    }
    expected = (
        r"NAME is 'build_resnet_backbone', but TimmBackbone alone knows MODEL.BACKBONE.WEIGHTS, "
        r"'backbone' in MODEL.PSFORMER.CHECKPOINTING: take that out"
    )
    with pytest.raises(ValueError, match=expected):
        small_model(**keys)
