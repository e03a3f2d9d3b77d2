"""A small model of every variant."""

import torch
from small_models import fill_by_rule, small_model

NODE = "MODEL.PSFORMER."
JOINT = {"QUERY_DECOUPLING": False}
WITHOUT_LOCATION = {"LOCATION_SUPERVISION": "none", "CLASSIFY": "mask"}
VERSION_1 = {**JOINT, "LOCATION_SUPERVISION": "centre", "CLASSIFY": "mask"}

VARIANTS = {
    "centre": {"LOCATION_SUPERVISION": "centre"},
    "box, class of the mask": {"CLASSIFY": "mask"},
    "no location decoder": WITHOUT_LOCATION,
    "joint": JOINT,
    "joint, no location decoder": {**JOINT, **WITHOUT_LOCATION},
    "version 1": VERSION_1,
    "last masks alone": {"MASK_SUPERVISION": "last"},
    "version 1, last masks alone": {**VERSION_1, "MASK_SUPERVISION": "last"},
    "no mask blocks": {"THING_MASK_LAYERS": 0},
    "single scale": {"ENCODER": "single_scale"},
    "plain attention": {"ENCODER": "attention"},
    "no encoder": {"ENCODER": "none"},
    "queries and levels alone": {
        **WITHOUT_LOCATION,
        "ENCODER": "none",
        "NUM_FEATURE_LEVELS": 3,
    },
    "padding mask": {"MASK_PADDING": True},
    "version 1, padding mask": {**VERSION_1, "MASK_PADDING": True},
}
INFERENCE = {
    "pixel argmax": {"TEST.MERGING": "pixel_argmax"},
    "maskformer": {"TEST.MERGING": "maskformer"},
    "early exit": {"TEST.MASK_LAYERS": 1},
    "version 1, early exit": {**VERSION_1, "TEST.MASK_LAYERS": 2},
    "joint, maskformer": {**JOINT, "TEST.MERGING": "maskformer"},
}
EVERY_RESULT = {
    "TEST.SEMANTIC_ON": True,
    "TEST.INSTANCE_ON": True,
    # accept almost anything, so that weights made up by rule give many segments
    "TEST.SCORE_THRESHOLD": 0.01,
}


def build(options: dict, *classes: list[int]) -> torch.nn.Module:
    """options: keys below MODEL.PSFORMER; classes: ids of things and of stuff."""
    keys = {NODE + key: value for key, value in options.items()}
    backbone = {"MODEL.BACKBONE.TIMM_NAME": "test_resnet", "MODEL.BACKBONE.FREEZE_BN": True}
    return small_model(*classes, **backbone, **keys)


@torch.no_grad()
def build_filled(options: dict, *classes: list[int]) -> torch.nn.Module:
    """With weights by rule, and masks that are above zero in many places."""
    model = fill_by_rule(build(options, *classes))
    for name, parameter in model.named_parameters():
        if name.endswith("mask_fc.bias"):
            parameter.add_(0.5)
    return model
