"""Names, shapes and numbers of parameters of MaskFormer, its baselines and Mask2Former."""

import json
import re
from functools import cache

import pytest
import torch
from torch import nn

from d2_psformer.checkpoint import convert_mask2former, convert_maskformer
from d2_psformer.d2.modeling import build_model
from d2_psformer.engine import load_config
from d2_psformer.model_zoo import list_configs
from d2_psformer.utils.errors import UserError

FAMILIES = r"/(mask2former|maskformer|per_pixel_baseline(?:_plus)?)_"
# Those of the official projects; the small ones are ours alone.
NAMES = [n for n in list_configs() if re.search(FAMILIES, n) and not n.endswith("_overfit")]
BACKBONES = {
    "R50": "R50", "R101": "R101",
    "swin_tiny": "SwinT", "swin_small": "SwinS", "swin_base": "SwinB", "swin_large": "SwinL",
}  # fmt: skip
# lists of official names with shapes: our config
SHAPES = {
    **{
        f"{family}_coco_{backbone.lower()}": f"coco/{family}_{backbone}"
        for family in ("maskformer", "mask2former")
        for backbone in BACKBONES.values()
    },
    "mask2former_coco_instance_r50": "coco/mask2former_instance_R50",
    "mask2former_cityscapes_r50_syncbn": "cityscapes/mask2former_R50",
    "maskformer_ade_r50": "ade20k/maskformer_semantic_R50",
    "maskformer_ade_swint": "ade20k/maskformer_semantic_SwinT",
    "perpixel_ade_r50": "ade20k/per_pixel_baseline_R50",
    "perpixelplus_ade_r50": "ade20k/per_pixel_baseline_plus_R50",
}
# trainable parameters, counted on the official models
KNOWN = {
    "coco/maskformer_R50": 45_012_038,
    "coco/maskformer_SwinT": 41_752_640,
    "ade20k/per_pixel_baseline_R50": 31_033_942,
    "ade20k/per_pixel_baseline_plus_R50": 41_228_736,
    "coco/mask2former_R50": 43_983_878,
    "coco/mask2former_SwinL": 215_535_610,
    "cityscapes/mask2former_R50": 44_007_700,
}


@cache
def build(name: str) -> nn.Module:
    with torch.device("meta"):
        return build_model(load_config(name, ["MODEL.DEVICE", "meta"]))


def trainable(model: nn.Module) -> int:
    """Frozen norms are left out: they are buffers in the official code."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def our_name(official: str) -> str | None:
    """Our config for the path of an official one; None where we have none."""
    data = re.match(r"(coco-panoptic|coco|ade20k-150|ade20k|cityscapes)[-/]", official)
    family = re.search(r"per_pixel_baseline(_plus)?|maskformer2?", official)
    backbone = re.search(r"_(swin_[a-z]+|R\d+c?)_", official)
    if not data or backbone[1] not in BACKBONES:
        return None
    task = ""
    if "instance" in official:
        task = "instance_"
    elif "panoptic" not in official and "baseline" not in official:
        task = "semantic_"
    family = family[0].replace("maskformer2", "mask2former")
    folder = data[1].removesuffix("-panoptic").removesuffix("-150")
    return f"{folder}/{family}_{task}{BACKBONES[backbone[1]]}"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_counts(name, reference_relatives):
    kind = "m2f" if "mask2former" in name else "mf"
    counts = json.loads((reference_relatives / f"parameter_counts_{kind}.json").read_text())
    golden = next(count for official, count in counts.items() if our_name(official) == name)
    model = build(name)
    assert trainable(model) == golden["trainable"]
    assert trainable(model.backbone) == golden["backbone"]


@pytest.mark.parametrize("name", KNOWN)
def test_known_counts_without_the_reference(name):
    assert trainable(build(name)) == KNOWN[name]


def official_weights(reference_relatives, shapes: str) -> dict[str, torch.Tensor]:
    """The names of an official model, with tensors that take no memory."""
    listed = json.loads((reference_relatives / "shapes" / f"{shapes}.json").read_text())
    return {name: torch.empty(shape, device="meta") for name, shape in listed.items()}


def older(name: str) -> str:
    """The name in the first versions of the official code."""
    return name.replace("pixel_decoder.", "").replace("query_feat", "static_query")


@pytest.mark.parametrize("shapes", SHAPES)
def test_a_released_checkpoint_fills_the_model(shapes, reference_relatives):
    convert = convert_mask2former if "mask2former" in shapes else convert_maskformer
    weights = official_weights(reference_relatives, shapes)
    expected = {name: value.shape for name, value in build(SHAPES[shapes]).state_dict().items()}
    for names in (weights, {older(name): value for name, value in weights.items()}):
        assert {name: value.shape for name, value in convert(names).items()} == expected


def test_a_backbone_that_we_have_not_is_named(reference_relatives):
    weights = official_weights(reference_relatives, "maskformer_ade_r101c")
    with pytest.raises(UserError, match="R101c"):
        convert_maskformer(weights)
