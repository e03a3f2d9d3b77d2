"""Checkpoints of EoMT by its authors and of transformers, with DINOv2 and with DINOv3."""

import re

import pytest
import torch
from eomt_pairs import BLOCKS, CASES, DIM, PATCH, build
from torch import Tensor, nn

from d2_psformer.checkpoint import add_base, convert, read_checkpoint
from d2_psformer.cli.main import main
from d2_psformer.utils.errors import UserError

transformers = pytest.importorskip("transformers")

cases = pytest.mark.parametrize("case", CASES)
ENCODER, MEAN = "network.encoder.backbone", "network.encoder.pixel_mean"
IMAGENET_MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
HEADS = {
    "query.": "network.q.",
    "class_predictor.": "network.class_head.",
    "mask_head.fc1.": "network.mask_head.0.",
    "mask_head.fc2.": "network.mask_head.2.",
    "mask_head.fc3.": "network.mask_head.4.",
    "upscale_block.block.": "network.upscale.",
    "attn_mask_probs": "network.attn_mask_probs",
    "criterion.": "criterion.",
}
DINOV3 = {
    "embeddings.": f"{ENCODER}.patch_embed.",
    "layers.": f"{ENCODER}.blocks.",
    "layernorm.": f"{ENCODER}.norm.",
}


def official(case: str) -> dict[str, Tensor]:
    """The state dict that the authors' code has for transformers' model.

    Of DINOv2 its backbone is timm's, as ours is; of DINOv3 it is transformers'.
    """
    theirs, ours = build(case)
    names = HEADS if case == "DINOv2" else HEADS | DINOV3
    weights = {MEAN: IMAGENET_MEAN, "network.encoder.pixel_std": torch.ones(1, 3, 1, 1)}
    for name, value in theirs.state_dict().items():
        start = next((start for start in names if name.startswith(start)), None)
        if start is not None and "mask_token" not in name:
            weights[names[start] + name.removeprefix(start).replace("layernorm2d", "norm")] = value
    if case == "DINOv2":
        for name, value in ours.backbone.vit.state_dict().items():
            weights[f"{ENCODER}.{name}"] = value
    return weights


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor], atol: float = 0) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=atol, msg=name)


@cases
def test_files_of_transformers(case, tmp_path):
    theirs, ours = build(case)
    theirs.save_pretrained(tmp_path / "one")
    theirs.save_pretrained(tmp_path / "many", max_shard_size="200KB")
    for file in ("one/model.safetensors", "many/model.safetensors.index.json"):
        saved = read_checkpoint(str(tmp_path / file))["model"]
        assert_equal(convert(saved, "hf-eomt"), ours.state_dict())


@cases
def test_the_authors_files(case, tmp_path):
    torch.save({"state_dict": official(case)}, tmp_path / "pytorch_model.bin")
    saved = read_checkpoint(str(tmp_path / "pytorch_model.bin"))["model"]
    assert_equal(convert(saved, "eomt"), build(case)[1].state_dict())


def dinov3(hidden_size: int = DIM) -> nn.Module:
    torch.manual_seed(1)
    config = transformers.DINOv3ViTConfig(
        patch_size=PATCH,
        hidden_size=hidden_size,
        intermediate_size=4 * hidden_size,
        num_hidden_layers=BLOCKS,
        num_attention_heads=2,
        num_register_tokens=4,
    )
    return transformers.DINOv3ViTModel(config)


def differences(base: dict[str, Tensor]) -> dict[str, Tensor]:
    """What the authors release: everything but the heads less its first values."""
    weights = official("DINOv3")
    for name in weights:
        if name.startswith(ENCODER):
            first = name.removeprefix(f"{ENCODER}.").replace("patch_embed.", "embeddings.")
            pattern = first.replace("blocks.", "layer.")
            first = next(key for key in base if re.fullmatch(rf"(model\.)?{pattern}", key))
            weights[name] = weights[name] - base[first]
    weights["network.attn_mask_probs"] = weights["network.attn_mask_probs"] - 1
    return weights | {MEAN: torch.zeros_like(IMAGENET_MEAN)}


def test_differences_to_dinov3_become_weights(tmp_path):
    dinov3().save_pretrained(tmp_path)
    base = str(tmp_path / "model.safetensors")
    torch.save(differences(read_checkpoint(base)["model"]), tmp_path / "delta.bin")
    command = ["convert-weights", "--source", "eomt", str(tmp_path / "delta.bin")]
    assert main([*command, "--base", base, str(tmp_path / "ours.pth")]) == 0
    found = read_checkpoint(str(tmp_path / "ours.pth"))["model"]
    assert_equal(found, build("DINOv3")[1].state_dict(), atol=1e-6)
    with pytest.raises(SystemExit, match=r"differences to DINOv3's weights alone.*--base"):
        main([*command, str(tmp_path / "ours.pth")])


@pytest.mark.parametrize(
    ("weights", "base", "message"),
    [
        (lambda: official("DINOv3"), dinov3, "leave --base out"),
        (lambda: differences(dinov3().state_dict()), lambda: dinov3(2 * DIM), "in this shape"),
    ],
    ids=["whole", "another size"],
)
def test_a_wrong_base_is_refused(weights, base, message):
    with pytest.raises(UserError, match=message):
        add_base(weights(), base().state_dict())


def test_a_base_of_another_network_is_refused():
    with pytest.raises(UserError, match="'conv1' is no parameter of a DINOv3"):
        add_base(differences(dinov3().state_dict()), {"conv1": torch.ones(1)})
