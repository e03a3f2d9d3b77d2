"""Parameters by part and those that learn, against the official counts."""

import json

import pytest
import torch

from d2_psformer.checkpoint import convert_official
from d2_psformer.d2.modeling import build_model

# our part: official parts
PARTS = {
    "backbone": ["backbone"],
    "pixel_decoder.input_projection": ["neck"],
    "pixel_decoder.layers": ["encoder"],
    "pixel_decoder.level_embed": ["level_embeds"],
    "location_decoder.layers": ["location_decoder"],
    "location_decoder.reference_points": ["reference_points"],
    "location_decoder.query_embed": ["query_embedding"],
    "location_decoder.class_embed": ["cls_branches"],
    "location_decoder.box_embed": ["reg_branches"],
    "thing_mask_decoder": ["thing_mask_head"],
    "stuff_decoder.mask_decoder": ["stuff_mask_head"],
    "stuff_decoder.query_embed": ["stuff_query"],
    "stuff_decoder.class_embed": ["cls_stuff_branches"],
}
# they never get a gradient and are not used at inference: we have none
UNUSED = ["reg_branches2", "cls_thing_branches"]

CONFIGS = {
    "R50_1x": "r50",
    "R50_2x": "r50",
    "R101_2x": "r101",
    "PVTv2-B0_2x": "pvtv2_b0",
    "PVTv2-B2_2x": "pvtv2_b2",
    "PVTv2-B5_2x": "pvtv2_b5",
    "SwinL_2x": "swinl",
}
# millions of trainable parameters in the table of the paper's version 1
VERSION_1 = {
    "v1_R50": 47.0,
    "v1_R101": 65.9,
    "v1_PVTv2-B0": 22.2,
    "v1_PVTv2-B2-Li": 41.6,
    "v1_PVTv2-B5": 100.9,
}
# the sum of every part but the backbone, less what is unused, worked out from the official table
BEYOND_R50_BACKBONE = 51_271_900 - 23_508_032 - 530_448 - 82_240


def count(model, part: str = "", trainable: bool = False) -> int:
    return sum(
        parameter.numel()
        for name, parameter in model.named_parameters()
        if (name == part or name.startswith(part + ".") or not part)
        and (parameter.requires_grad or not trainable)
    )


def build(make_config, name: str):
    cfg = make_config(f"coco/psformer_{name}.yaml", "MODEL.DEVICE", "meta")
    with torch.device("meta"):
        return build_model(cfg)


@pytest.mark.parametrize("name", CONFIGS)
def test_counts(name, make_config, reference):
    golden = json.loads((reference / "parameter_counts.json").read_text())[CONFIGS[name]]
    model = build(make_config, name)
    for ours, official in PARTS.items():
        assert count(model, ours) == sum(golden[part] for part in official), ours
    unused = sum(golden[part] for part in UNUSED)
    assert count(model) == golden["TOTAL"] - unused
    assert count(model, trainable=True) == golden["TRAINABLE"] - unused


@pytest.mark.parametrize("name", CONFIGS)
def test_a_released_checkpoint_fills_the_model(name, make_config, reference):
    """Every name and shape, without the memory for them."""
    shapes = json.loads((reference / "shapes" / f"{CONFIGS[name]}.json").read_text())
    released = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    converted = {k: v.shape for k, v in convert_official(released).items()}
    assert converted == {k: v.shape for k, v in build(make_config, name).state_dict().items()}


def test_known_count_without_the_reference(make_config):
    model = build(make_config, "R50_1x")
    assert count(model) - count(model, "backbone") == BEYOND_R50_BACKBONE


@pytest.mark.parametrize("name", VERSION_1)
def test_version_1_is_as_large_as_the_paper_says(name, make_config):
    model = build(make_config, name)
    assert count(model, trainable=True) / 1e6 == pytest.approx(VERSION_1[name], rel=0.005)
    # six blocks with self-attention as of stuff, one classifier, six MLPs of places
    assert count(model, "mask_decoder") == 6_453_911
    assert count(model, "class_embed") == 257 * 133
    assert count(model, "location_decoder.box_embed") == 795_672
    assert count(model, "location_decoder.query_embed") == 300 * 512
