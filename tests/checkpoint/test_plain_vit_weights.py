"""Weights of plain vision transformers, resampled as timm does it."""

from types import SimpleNamespace

import pytest
import timm
import torch
from timm.layers import resample_abs_pos_embed, resample_patch_embed

from d2_psformer.checkpoint import load_pretrained_backbone, pretrained
from d2_psformer.modeling.backbone import PlainViT
from d2_psformer.utils.errors import UserError

DINOV3 = "vit_small_patch16_dinov3_qkvb"
DINOV2 = "vit_small_patch14_reg4_dinov2"


def make(name: str, weights="", tag=""):
    """A model with a fresh backbone, and the config that asks for its weights."""
    backbone = PlainViT(name=name, image_size=64, patch_size=16)
    node = SimpleNamespace(NAME="PlainViT", TIMM_NAME=name, WEIGHTS=str(weights), PRETRAINED=tag)
    return SimpleNamespace(backbone=backbone), SimpleNamespace(MODEL=SimpleNamespace(BACKBONE=node))


def released(name: str, **options) -> dict:
    """Random weights in the layout of timm's, without a constant among them."""
    state = timm.create_model(name, num_classes=0, **options).state_dict()
    return {key: torch.randn_like(value) * 0.02 for key, value in state.items()}


def loaded(name: str, content: dict, folder) -> dict:
    torch.save(content, folder / "vit.pth")
    model, cfg = make(name, folder / "vit.pth")
    load_pretrained_backbone(model, cfg)
    return model.backbone.vit.state_dict()


def resampled(weights: dict, prefix: int) -> dict:
    """At 64 px and patches of 16, by timm's functions."""
    expected = dict(weights)
    expected["patch_embed.proj.weight"] = resample_patch_embed(
        weights["patch_embed.proj.weight"], [16, 16]
    )
    if "pos_embed" in weights:
        expected["pos_embed"] = resample_abs_pos_embed(
            weights["pos_embed"], [4, 4], num_prefix_tokens=prefix
        )
    return expected


def assert_equal(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value)


def of_segmenter(weights: dict) -> dict:
    named = {f"backbone.vit.{key}": value for key, value in weights.items()}
    return {"model": {**named, "class_embed.weight": torch.zeros(2)}}


@pytest.mark.parametrize("layout", [dict, of_segmenter])
@pytest.mark.parametrize(
    ("name", "options", "prefix"),
    [
        ("test_vit", {"img_size": 98, "patch_size": 14}, 1),
        (DINOV2, {"img_size": 70}, 0),
        (DINOV3, {"patch_size": 8}, 0),
    ],
)
def test_positions_and_patches_are_resampled(name, options, prefix, layout, tmp_path):
    weights = released(name, **options)
    found = loaded(name, layout(weights), tmp_path)
    assert_equal(found, resampled(weights, prefix))


def test_names_of_dinov2(tmp_path):
    """Its positions have one of the class token, which timm adds to the token."""
    weights = released(DINOV2, img_size=70)
    position = torch.randn(1, 1, 384)
    theirs = {key: value for key, value in weights.items() if key != "reg_token"}
    theirs |= {"register_tokens": weights["reg_token"], "mask_token": torch.zeros(1, 384)}
    theirs["cls_token"] = weights["cls_token"] - position
    theirs["pos_embed"] = torch.cat([position, weights["pos_embed"]], 1)
    assert_equal(loaded(DINOV2, theirs, tmp_path), resampled(weights, 0))


def test_names_of_dinov3(tmp_path):
    weights, theirs = released(DINOV3), {"mask_token": torch.zeros(1, 192)}
    for key, value in weights.items():
        name = key.replace("reg_token", "storage_tokens")
        theirs[name.replace("gamma_", "ls") + (".gamma" if "gamma_" in key else "")] = value
    for block in range(12):
        start = f"blocks.{block}.attn."
        query, values = theirs.pop(f"{start}q_bias"), theirs.pop(f"{start}v_bias")
        theirs[f"{start}qkv.bias"] = torch.cat([query, torch.zeros_like(query), values])
    assert_equal(loaded(DINOV3, theirs, tmp_path), weights)


def of_transformers(kind: str, **options) -> torch.nn.Module:
    """A DINO of ViT-S's widths, with random numbers in place of zeros and ones."""
    transformers = pytest.importorskip("transformers")
    config = getattr(transformers, f"{kind}Config")(
        hidden_size=384, num_attention_heads=6, num_hidden_layers=12, **options
    )
    model = getattr(transformers, f"{kind}Model")(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        ("vit_small_patch14_dinov2", "Dinov2", {"patch_size": 16, "image_size": 64}),
        (DINOV2, "Dinov2WithRegisters", {"patch_size": 16, "image_size": 64}),
        (DINOV3, "DINOv3ViT", {"intermediate_size": 1536, "num_register_tokens": 4}),
    ],
)
@pytest.mark.parametrize("saved", [True, False], ids=["file", "model"])
def test_names_of_transformers(name, kind, options, saved, tmp_path):
    """The same tokens as theirs, of a file and of a live model, whose names differ."""
    theirs = of_transformers(kind, **options)
    if saved:
        theirs.save_pretrained(tmp_path)
        path = tmp_path / "model.safetensors"
    else:
        path = tmp_path / "model.pth"
        torch.save(theirs.state_dict(), path)
    model, cfg = make(name, path)
    load_pretrained_backbone(model, cfg)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = theirs(images).last_hidden_state[:, model.backbone.prefix :]
        found = model.backbone.eval()(images)["tokens"].flatten(2).mT
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_files_of_other_models(tmp_path):
    with pytest.raises(UserError, match=r"lacks \d+ of .*of test_vit.*another model's file"):
        loaded("test_vit", timm.create_model("test_resnet").state_dict(), tmp_path)
    with pytest.raises(UserError, match=r"has 'vit\..* needs .*another size"):
        loaded("test_vit", released("test_vit", embed_dim=96, num_heads=3), tmp_path)


def test_weights_through_timm(monkeypatch):
    """timm's part of the work is replaced: the same call, without a download."""
    model, cfg = make(DINOV2, tag="lvd142m")
    weights, original = released(DINOV2), timm.create_model

    def without_download(name, pretrained, **options):
        assert (name, pretrained) == (f"{DINOV2}.lvd142m", True)
        overlay = {"state_dict": dict(weights)}
        return original(name, pretrained=True, pretrained_cfg_overlay=overlay, **options)

    monkeypatch.setattr(pretrained.timm, "create_model", without_download)
    load_pretrained_backbone(model, cfg)
    assert_equal(model.backbone.vit.state_dict(), resampled(weights, 0))
