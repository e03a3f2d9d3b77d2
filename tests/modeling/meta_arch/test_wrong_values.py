"""A value that a constructor refuses is named with the node of the config that it stands in."""

import re

import pytest
from small_models import JOINT, VARIANTS, VERSION_1, small_model, tiny_model

from d2_psformer.utils.checks import check_at_least
from d2_psformer.utils.errors import UserError

PIXEL, QUERY = "MODEL.PIXEL_DECODER", "MODEL.TRANSFORMER_DECODER"
OWN, LOSS, POST = "MODEL.PSFORMER", "MODEL.LOSS", "MODEL.POSTPROCESSING"

# keys and values -> how the error begins
WRONG = [
    ({f"{PIXEL}.HEADS": 5}, f"{PIXEL}: heads is 5: it must divide dim, which is 48."),
    ({f"{PIXEL}.HEADS": 0}, f"{PIXEL}: heads is 0: it must be at least 1."),
    ({f"{PIXEL}.DIM": 60}, f"{PIXEL}: dim is 60: it must be a multiple of 8 and at least 16."),
    ({f"{PIXEL}.LAYERS": -1}, f"{PIXEL}: layers is -1: it must be at least 0."),
    ({f"{PIXEL}.POINTS": 0}, f"{PIXEL}: points is 0: it must be at least 1."),
    ({f"{PIXEL}.DIM_FEEDFORWARD": 0}, f"{PIXEL}: dim_feedforward is 0: it must be at least 1."),
    ({f"{PIXEL}.DROPOUT": 1.0}, f"{PIXEL}: dropout is 1.0: it must be at least 0 and below 1."),
    (
        {f"{PIXEL}.NUM_LEVELS": 2},
        f"{PIXEL}: num_levels is 2, fewer than the 3 backbone features: set it to 3 or more.",
    ),
    ({f"{PIXEL}.IN_FEATURES": []}, f"{PIXEL}.IN_FEATURES is [], with strides []: name at least"),
    (
        {f"{PIXEL}.IN_FEATURES": ["res3", "res3"]},
        f"{PIXEL}.IN_FEATURES is ['res3', 'res3'], with strides [8, 8]: name at least one feature",
    ),
    (
        {f"{PIXEL}.IN_FEATURES": ["res4", "res3"]},
        f"{PIXEL}.IN_FEATURES is ['res4', 'res3'], with strides [16, 8]: name at least one",
    ),
    (
        {f"{PIXEL}.IN_FEATURES": ["res3", "res9"]},
        "MODEL.BACKBONE: timm model 'test_resnet' has strides [2, 4, 8, 16, 32], none for res9;",
    ),
    ({f"{QUERY}.HEADS": 5}, f"{QUERY}: heads is 5: it must divide dim, which is 48."),
    ({f"{QUERY}.HEADS": 0}, f"{QUERY}: heads is 0: it must be at least 1."),
    ({f"{QUERY}.LAYERS": 0}, f"{QUERY}: layers is 0: it must be at least 1."),
    ({f"{QUERY}.NUM_QUERIES": 0}, f"{QUERY}: num_queries is 0: it must be at least 1."),
    ({f"{QUERY}.DIM_FEEDFORWARD": 0}, f"{QUERY}: dim_feedforward is 0: it must be at least 1."),
    ({f"{QUERY}.DROPOUT": -0.1}, f"{QUERY}: dropout is -0.1: it must be at least 0 and below 1."),
    (
        {f"{OWN}.REFERENCE_INIT": "centre"},
        f"{OWN}: reference_init is 'centre': use one of 'learned', 'grid'.",
    ),
    ({f"{OWN}.CLASS_PRIOR": 0.0}, f"{OWN}: class_prior is 0.0: it must lie between 0 and 1."),
    ({f"{OWN}.BOX_SIZE_PRIOR": 1.0}, f"{OWN}: box_size_prior is 1.0: it must lie between 0 and 1."),
    ({f"{OWN}.TOPK": 0}, f"{OWN}: topk is 0: it must be at least 1."),
    ({f"{OWN}.EXIT_AFTER": -1}, f"{OWN}.THING_MASK_LAYERS: exit_after is -1: it must be at least"),
    (
        {f"{OWN}.EXIT_AFTER": 3},
        f"{OWN}.THING_MASK_LAYERS: exit_after is 3, but layers is 2: give the number of a layer",
    ),
    (
        {f"{OWN}.EXIT_AFTER": 1, f"{LOSS}.DEEP_SUPERVISION": False},
        f"{OWN}.THING_MASK_LAYERS: exit_after is 1, but masks of layers are not learned without",
    ),
    ({f"{LOSS}.CLASS_WEIGHT": -1.0}, f"{LOSS}: weight of loss_ce is -1.0: it must be at least 0."),
    ({f"{LOSS}.BOX_WEIGHT": -1.0}, f"{LOSS}: weight of loss_bbox is -1.0: it must be at least 0."),
    ({f"{LOSS}.DICE_WEIGHT": -1.0}, f"{LOSS}: weight of loss_dice is -1.0: it must be at least"),
    ({f"{LOSS}.FOCAL_ALPHA": 1.5}, f"{LOSS}: alpha is 1.5: it must lie between 0 and 1."),
    ({f"{LOSS}.FOCAL_GAMMA": -1.0}, f"{LOSS}: gamma is -1.0: it must be at least 0."),
    (
        {f"{OWN}.MASK_MATCH_CLASS_COST": -1.0},
        f"{OWN}.MASK_MATCH_CLASS_COST: cost weight of loss_ce is -1.0: it must be at least 0.",
    ),
    ({f"{POST}.MASK_POWER": -1.0}, f"{POST}: mask_power is -1.0: it must be at least 0."),
    ({"MODEL.PIXEL_STD": [1.0, 0.0, 1.0]}, "MODEL.PIXEL_MEAN is"),
    ({"MODEL.PIXEL_MEAN": [100.0]}, "MODEL.PIXEL_MEAN is [100.0] and MODEL.PIXEL_STD is"),
    ({f"{POST}.MASK_THRESHOLD": -0.5}, f"{POST}: mask_threshold is -0.5: it must be at least 0."),
    *(
        ({f"{POST}.{key.upper()}": value}, f"{POST}: {key} is {value}: it must be {allowed}")
        for key, value, allowed in (
            ("thing_overlap_threshold", -0.5, "at least 0 and at most 1."),
            ("stuff_overlap_threshold", 1.5, "at least 0 and at most 1."),
            ("score_threshold", -0.5, "at least 0."),
            ("score_threshold", float("nan"), "at least 0."),
        )
    ),
    (
        {f"{POST}.MERGING": "argmax"},
        f"{POST}: MERGING is 'argmax': use one of 'mask_wise', 'pixel_argmax', 'maskformer', "
        "'mask2former', 'max_deeplab'.",
    ),
    (
        {"MODEL.AUTOCAST": "half"},
        "MODEL.AUTOCAST is 'half': use one of 'auto', 'float32', 'bfloat16', 'float16'.",
    ),
    (
        {"MODEL.CHECKPOINTING": ["decoder"]},
        "MODEL.CHECKPOINTING is 'decoder': use one of 'backbone', 'pixel_decoder', "
        "'transformer_decoder'.",
    ),
]
# Of the architectures that stand on MaskFormer's pixel decoder.
OF_FPN = [
    ({f"{PIXEL}.DIM": 60}, f"{PIXEL}: dim is 60: it must be a multiple of 8 and at least 16."),
    ({f"{PIXEL}.DIM": 8}, f"{PIXEL}: dim is 8: it must be a multiple of 8 and at least 16."),
    ({f"{PIXEL}.MASK_DIM": 0}, f"{PIXEL}: mask_dim is 0: it must be at least 1."),
]
OF_VERSION_2 = [
    (
        {f"{OWN}.THING_MASK_LAYERS": -1},
        f"{OWN}.THING_MASK_LAYERS: layers is -1: it must be at least 0.",
    ),
    (
        {f"{OWN}.STUFF_MASK_LAYERS": 0},
        f"{OWN}.STUFF_MASK_LAYERS: layers is 0: it must be at least 1.",
    ),
    (
        {f"{OWN}.EXIT_AFTER": 2, f"{OWN}.STUFF_MASK_LAYERS": 1},
        f"{OWN}.STUFF_MASK_LAYERS: exit_after is 2, but layers is 1",
    ),
    ({f"{LOSS}.GIOU_WEIGHT": -1.0}, f"{LOSS}: weight of loss_giou is -1.0: it must be at least"),
    (
        {f"{OWN}.STUFF_CLASS_WEIGHT": -1.0},
        f"{OWN}.STUFF_CLASS_WEIGHT: weight of loss_ce is -1.0: it must be at least 0.",
    ),
]
OF_VERSION_1 = [
    (
        {f"{OWN}.THING_MASK_LAYERS": 0},
        f"{OWN}.THING_MASK_LAYERS: layers is 0: it must be at least 1.",
    )
]


def ids(cases) -> list[str]:
    return [", ".join(f"{key.split('.', 1)[1]}={value}" for key, value in c.items()) for c in cases]


def cases(pairs):
    return pytest.mark.parametrize(("keys", "message"), pairs, ids=ids(keys for keys, _ in pairs))


def assert_refused(keys: dict, message: str) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(message)}"):
        tiny_model(filled=False, **keys)


@cases(WRONG + OF_VERSION_2)
def test_panoptic_segformer(keys, message):
    assert_refused(keys, message)


@cases(WRONG + OF_VERSION_1)
def test_version_1(keys, message):
    assert_refused(VERSION_1 | keys, message)


@cases(OF_FPN)
@pytest.mark.parametrize("name", ["maskformer", "per pixel", "per pixel plus"])
def test_models_with_an_fpn(name, keys, message):
    assert_refused(VARIANTS[name] | keys, message)


@pytest.mark.parametrize("name", ["maskformer", "mask2former"])
def test_masks_that_are_probabilities_stay_below_one(name):
    threshold = {f"{POST}.MASK_THRESHOLD": 1.0}
    tiny_model(filled=False, **threshold)  # scores of Panoptic SegFormer have no upper bound
    message = f"{POST}.MASK_THRESHOLD is 1.0: it must be at least 0 and below 1."
    assert_refused(VARIANTS[name] | threshold, message)


def test_keys_of_parts_that_a_model_lacks_are_not_checked():
    stuff_layers = {f"{OWN}.STUFF_MASK_LAYERS": 0}
    tiny_model(filled=False, **JOINT, **stuff_layers)
    tiny_model((0, 1), (), filled=False, **stuff_layers)
    tiny_model(filled=False, **VERSION_1, **stuff_layers)
    tiny_model((), (0, 1), filled=False, **{f"{QUERY}.LAYERS": 0})


def test_keys_that_another_backbone_does_not_read_are_refused():
    keys = {
        "MODEL.BACKBONE.NAME": "build_resnet_backbone",
        "MODEL.BACKBONE.WEIGHTS": "mine.pth",
        "MODEL.CHECKPOINTING": ["backbone"],
    }
    expected = (
        r"NAME is 'build_resnet_backbone', which does not read MODEL.BACKBONE.WEIGHTS, "
        r"'backbone' in MODEL.CHECKPOINTING: take that out"
    )
    with pytest.raises(UserError, match=expected):
        small_model(**keys)


@pytest.mark.parametrize("prior", [0.0, 1.0])
def test_the_class_prior_of_stuff_alone(prior):
    with pytest.raises(UserError, match=f"{OWN}: class_prior is {prior}"):
        tiny_model((), (0, 1), filled=False, **{f"{OWN}.CLASS_PRIOR": prior})


def test_numbers_that_are_none():
    with pytest.raises(UserError, match="weight is nan"):
        check_at_least(0, weight=float("nan"))
