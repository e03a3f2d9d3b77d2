"""Learning rate and weight decay of every parameter against the official optimizers' groups."""

import pytest
import torch

from d2_psformer.checkpoint.relatives import convert_mask2former, convert_maskformer
from d2_psformer.d2.modeling import build_model
from d2_psformer.engine import load_config
from d2_psformer.engine.optimizer import parameter_groups

# our config: the official one, and the file with the shapes of its model
CASES = {
    "coco/mask2former_R50": (
        "coco/panoptic-segmentation/maskformer2_R50_bs16_50ep",
        "mask2former_coco_r50",
    ),
    "coco/mask2former_SwinT": (
        "coco/panoptic-segmentation/swin/maskformer2_swin_tiny_bs16_50ep",
        "mask2former_coco_swint",
    ),
    "cityscapes/mask2former_R50": (
        "cityscapes/panoptic-segmentation/maskformer2_R50_bs16_90k",
        "mask2former_cityscapes_r50_syncbn",
    ),
    "coco/maskformer_R50": (
        "coco-panoptic/maskformer_panoptic_R50_bs64_554k",
        "maskformer_coco_r50",
    ),
    "ade20k/maskformer_semantic_SwinT": (
        "ade20k-150/swin/maskformer_swin_tiny_bs16_160k",
        "maskformer_ade_swint",
    ),
    "ade20k/per_pixel_baseline_R50": (
        "ade20k-150/per_pixel_baseline_R50_bs16_160k",
        "perpixel_ade_r50",
    ),
}


def official_names(shapes: dict[str, list[int]], convert) -> dict[str, str]:
    """Our name of a parameter -> the official one, found by converting numbered tensors."""
    names = list(shapes)
    numbered = {n: torch.full(tuple(shapes[n]), float(i)) for i, n in enumerate(names)}
    return {
        ours: names[int(value.flatten()[0])]
        for ours, value in convert(numbered).items()
        if not ours.endswith("num_batches_tracked")
    }


@pytest.mark.parametrize("name", CASES)
def test_groups(name, golden):
    config, shapes = CASES[name]
    cfg = load_config(name, ["MODEL.DEVICE", "meta"])
    is_mask2former = "mask2former" in name
    file = f"optimizer_groups_{'m2f' if is_mask2former else 'mf'}"
    groups = golden.json(file)[f"{config}.yaml"]
    expected = {}
    for rates, names in groups.items():
        _, rate, _, decay = rates.split()
        expected |= dict.fromkeys(names, (pytest.approx(float(rate)), float(decay)))

    convert = convert_mask2former if is_mask2former else convert_maskformer
    official = official_names(golden.json(f"shapes/{shapes}"), convert)
    with torch.device("meta"):
        model = build_model(cfg)
    found = {
        official[ours]: (group["lr"], group["weight_decay"])
        for group in parameter_groups(model, cfg.SOLVER)
        for ours in group["param_names"]
    }
    assert found == expected
