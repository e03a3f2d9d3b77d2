"""Parameters, learning-rate groups and drop path of MaX-DeepLab-S and -L against deeplab2's."""

import json
import math

import pytest
import torch
from golden_models import L, S
from names import official_names
from small_models import small_model

from d2_psformer.modeling.backbone.residual_blocks import ResidualBlock

FILES = {"S": "max_deeplab_s_variables", "L": "max_deeplab_l_encoder_variables"}
# Factors of configs/: the first part of a name that fits is used.
LR_MULTIPLIERS = [["transformer", 1.0], ["extra", 1.0], ["memory", 1.0], ["backbone", 0.1]]


@pytest.fixture(scope="module", params=FILES)
def sized(request, reference_max_deeplab):
    """Variant, the reference's list of variables, and our model without memory for weights."""
    listed = json.loads((reference_max_deeplab / f"{FILES[request.param]}.json").read_text())
    options = (S if request.param == "S" else L) | {"MODEL.BACKBONE.DROP_PATH": 0.2}
    with torch.device("meta"):
        model = small_model(range(80), range(80, 133), **options | {"MODEL.DEVICE": "meta"})
    return request.param, listed, model


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_golden_counts(sized):
    _, listed, model = sized
    assert count(model.backbone) == listed["encoder_trainable"]
    if "trainable_total" in listed:
        assert count(model) == listed["trainable_total"]
        without = count(model) - count(model.semantic_head)
        assert without == listed["trainable_without_auxiliary_semantic"]


def test_golden_variables(sized):
    """Every one of the reference is one of ours of the same size, with the same factor on LR."""
    variant, listed, model = sized
    variables = {x["name"]: x for x in listed["variables"]}
    prefix = "DeepLab/" if variant == "S" else ""
    ours, state = official_names(model.state_dict(), variant, prefix), model.state_dict()
    in_encoder = {x: y for x, y in ours.items() if variant == "S" or x.startswith("backbone.")}
    assert set(in_encoder.values()) == set(variables)
    for name, official in in_encoder.items():
        assert state[name].numel() == math.prod(variables[official]["shape"])
        if variables[official]["trainable"]:
            factor = next((f for part, f in LR_MULTIPLIERS if part in name), 1.0)
            assert (factor == 0.1) == bool(variables[official].get("backbone_lr")), name


def test_golden_blocks(sized, reference_max_deeplab):
    """Kinds, widths, strides and the rates of drop path, by stage."""
    variant, _, model = sized
    listed = json.loads((reference_max_deeplab / "schedule_and_blocks.json").read_text())
    official = listed[f"blocks/max_deeplab_{variant.lower()}"]
    assert len(official) == len(model.backbone.stages)
    for name, stage in model.backbone.stages.items():
        key = name.replace("decoder", "decoder_stage")
        key = key if variant == "S" or name != "stage5_extra" else "decoder_stage4_extra"
        assert len(official[key]) == len(stage.blocks)
        for i, (block, expected) in enumerate(zip(stage.blocks, official[key], strict=True)):
            assert kind(block) == expected["kind"]
            assert block.branch.last.conv.out_channels == expected["filters"][-1]
            rates = [block.drop_path.drop_prob]
            assert bool(stage.transformers) == (expected["transformer"] is not None)
            if stage.transformers:
                layer = stage.transformers[i]
                rates.append(layer.drop_path.drop_prob)
                assert layer.pixel_projection.sizes[1:] == (
                    expected["transformer"]["key"],
                    expected["transformer"]["value"],
                )
            assert rates == pytest.approx([1 - expected["drop_path_keep"]] * len(rates))


def kind(block: ResidualBlock) -> str:
    if hasattr(block.branch, "attention"):
        return "attention"
    return "bottleneck" if hasattr(block.branch, "middle") else "basic"
