"""Backbone weights from files as their authors name them, and through timm."""

import re
from types import SimpleNamespace

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from d2_psformer.checkpoint import load_pretrained_backbone, pretrained
from d2_psformer.modeling.backbone import TimmBackbone
from d2_psformer.utils.errors import UserError

LEVELS = ["res3", "res4", "res5"]


def make(name: str = "resnet18", weights="", tag="", levels=LEVELS, **options):
    """A model with a fresh backbone, and the config that asks for its weights."""
    backbone = TimmBackbone(name=name, out_features=levels, **options)
    node = SimpleNamespace(
        NAME="TimmBackbone", TIMM_NAME=name, WEIGHTS=str(weights), PRETRAINED=tag
    )
    cfg = SimpleNamespace(MODEL=SimpleNamespace(BACKBONE=node))
    return SimpleNamespace(backbone=backbone), cfg


def save(path, state_dict):
    torch.save(state_dict, path)
    return path


def pvt_names(state_dict: dict) -> dict:
    """timm's PVTv2 -> the names of its authors' releases."""
    renamed = {}
    for key, value in state_dict.items():
        name = re.sub(r"^stages\.(\d)\.", lambda m: f"{int(m[1]) + 1}|", key)
        name = re.sub(r"^(\d)\|blocks\.", r"block\1.", name)
        name = re.sub(r"^(\d)\|downsample\.", r"patch_embed\1.", name)
        name = re.sub(r"^(\d)\|norm\.", r"norm\1.", name)
        name = re.sub(r"^patch_embed\.", "patch_embed1.", name)
        renamed[name.replace(".dwconv.", ".dwconv.dwconv.")] = value
    return renamed


def swin_names(state_dict: dict) -> dict:
    """timm's Swin -> the names of its authors' releases, with the tables they save."""
    renamed = {}
    for key, value in state_dict.items():
        name = re.sub(
            r"^layers\.(\d)\.downsample", lambda m: f"layers.{int(m[1]) - 1}.downsample", key
        )
        renamed[name.replace("head.fc.", "head.")] = value
    renamed["layers.0.blocks.1.attn_mask"] = torch.zeros(64, 49, 49)
    renamed["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(49, 49)
    return {"model": renamed}


def detectron2_names(state_dict: dict) -> dict:
    """torchvision's ResNet -> Detectron2's names."""
    renamed = {}
    for key, value in state_dict.items():
        name = re.sub(r"^layer(\d)", lambda m: f"res{int(m[1]) + 1}", key)
        name = re.sub(r"^(?=conv1|bn1)", "stem.", name)
        name = name.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")
        renamed[re.sub(r"bn(\d)", r"conv\1.norm", name)] = value
    return renamed


def of_detector(state_dict: dict) -> dict:
    """The file of a detector with this backbone."""
    backbone = {f"backbone.{key}": value for key, value in state_dict.items()}
    return {"state_dict": {**backbone, "neck.lateral.weight": torch.zeros(2)}, "meta": {"epoch": 1}}


FAMILIES = {
    "torchvision": ("resnet18", lambda weights: weights),
    "detectron2": ("resnet18", detectron2_names),
    "timm resnet": ("resnet10t", lambda weights: {"state_dict": weights}),
    "timm pvt": ("pvt_v2_b0", lambda weights: weights),
    "pvt": ("pvt_v2_b0", pvt_names),
    "timm swin": ("swin_tiny_patch4_window7_224", lambda weights: weights),
    "swin": ("swin_tiny_patch4_window7_224", swin_names),
    "pvt detector": ("pvt_v2_b0", lambda weights: of_detector(pvt_names(weights))),
    "swin detector": (
        "swin_tiny_patch4_window7_224",
        lambda weights: of_detector(swin_names(weights)["model"]),
    ),
    "convnext": ("convnext_atto", lambda weights: weights),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_files_of_every_family(family, tmp_path):
    """Every weight of the backbone is that of the classifier that the file was saved from."""
    name, rename = FAMILIES[family]
    source = timm.create_model(name, pretrained=False)
    path = save(tmp_path / "weights.pth", rename(source.state_dict()))
    model, cfg = make(name, path)
    load_pretrained_backbone(model, cfg)
    kept = {
        re.sub(r"^(stages|layers|stem)\.(\d)\.", r"\1_\2.", key): value
        for key, value in source.state_dict().items()
    }
    for key, value in model.backbone.body.state_dict().items():
        if "num_batches_tracked" not in key:
            assert torch.equal(value, kept[key]), key


def test_torchvision_file_gives_torchvisions_features(tmp_path):
    torchvision = pytest.importorskip("torchvision")
    theirs = torchvision.models.resnet18(weights=None).eval()
    model, cfg = make("resnet18", save(tmp_path / "resnet18.pth", theirs.state_dict()))
    load_pretrained_backbone(model, cfg)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        features = model.backbone.eval()(image)["res5"]
        x = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(image))))
        for layer in (theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4):
            x = layer(x)
    torch.testing.assert_close(features, x)


def test_torchvision_convnext_gives_torchvisions_features(tmp_path):
    torchvision = pytest.importorskip("torchvision")
    theirs = torchvision.models.convnext_tiny(weights=None).eval()
    for name, parameter in theirs.named_parameters():
        if name.endswith("layer_scale"):  # starts too small for the blocks to count
            nn.init.uniform_(parameter, 0.1, 1.0)
    model, cfg = make("convnext_tiny", save(tmp_path / "tiny.pth", theirs.state_dict()))
    load_pretrained_backbone(model, cfg)
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        features = model.backbone.eval()(image)["res5"]
        expected = theirs.features(image).permute(0, 2, 3, 1)
        expected = F.layer_norm(expected, expected.shape[-1:], eps=1e-6).permute(0, 3, 1, 2)
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("levels", [LEVELS, ["res2", *LEVELS]], ids=len)
def test_output_norms_of_an_official_detector_are_kept(tmp_path, levels):
    source = timm.create_model("swin_tiny_patch4_window7_224", pretrained=False)
    weights = swin_names(source.state_dict())["model"]
    for stage, channels in enumerate((96, 192, 384, 768)):
        weights[f"norm{stage}.weight"] = torch.full((channels,), float(stage))
        weights[f"norm{stage}.bias"] = torch.zeros(channels)
    path = save(tmp_path / "w.pth", weights)
    model, cfg = make("swin_tiny_patch4_window7_224", path, levels=levels)
    load_pretrained_backbone(model, cfg)
    found = [norm.weight[0].item() for norm in model.backbone.output_norms]
    assert found == [0, 1, 2, 3][-len(levels) :]


def test_missing_file():
    model, cfg = make(weights="/nowhere/resnet18.pth")
    with pytest.raises(UserError, match=r"'/nowhere/resnet18\.pth'"):
        load_pretrained_backbone(model, cfg)


def test_file_of_another_size(tmp_path):
    path = save(tmp_path / "b2.pth", timm.create_model("pvt_v2_b1").state_dict())
    model, cfg = make("pvt_v2_b0", path)
    with pytest.raises(ValueError, match=r"b2\.pth' has 'body\..*needs.*another size"):
        load_pretrained_backbone(model, cfg)


def test_file_of_another_model(tmp_path):
    path = save(tmp_path / "pvt.pth", timm.create_model("pvt_v2_b0").state_dict())
    model, cfg = make("resnet18", path)
    with pytest.raises(ValueError, match=r"pvt\.pth' lacks \d+ of \d+ tensors of resnet18"):
        load_pretrained_backbone(model, cfg)


def test_nothing_is_loaded_when_something_is_wrong(tmp_path):
    weights = timm.create_model("resnet18").state_dict()
    del weights["layer4.1.bn2.weight"]
    model, cfg = make("resnet18", save(tmp_path / "w.pth", weights))
    before = model.backbone.body.conv1.weight.clone()
    with pytest.raises(ValueError, match=r"lacks 1 of .*the first 'body\.layer4\.1\.bn2\.weight'"):
        load_pretrained_backbone(model, cfg)
    assert torch.equal(model.backbone.body.conv1.weight, before)


@pytest.mark.parametrize("frozen", [{"freeze_at": 2}, {"norm": "FrozenBN"}])
def test_frozen_layers_without_weights_are_refused(frozen):
    model, cfg = make(**frozen)
    with pytest.raises(
        ValueError, match=r"frozen, but there are no weights.*PRETRAINED.*FREEZE_AT 0"
    ):
        load_pretrained_backbone(model, cfg)


def test_random_weights_are_allowed_where_nothing_is_frozen(caplog):
    model, cfg = make()
    before = model.backbone.body.conv1.weight.clone()
    with caplog.at_level("WARNING"):
        load_pretrained_backbone(model, cfg)
    assert "random weights" in caplog.text
    assert torch.equal(model.backbone.body.conv1.weight, before)


def test_other_backbones_may_start_at_random_but_not_frozen():
    backbone = torch.nn.Linear(2, 2)
    node = SimpleNamespace(NAME="build_resnet_backbone", WEIGHTS="ours.pth", PRETRAINED="tv_in1k")
    cfg = SimpleNamespace(MODEL=SimpleNamespace(BACKBONE=node))
    load_pretrained_backbone(SimpleNamespace(backbone=backbone), cfg)
    backbone.weight.requires_grad_(False)
    with pytest.raises(ValueError, match=r"frozen, but there are no weights.*in MODEL.WEIGHTS, or"):
        load_pretrained_backbone(SimpleNamespace(backbone=backbone), cfg)


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("resnet18", "tv_in1k"),
        ("swin_tiny_patch4_window7_224", "ms_in22k"),
        ("pvt_v2_b0", "in1k"),
        ("convnext_atto", "d2_in1k"),
    ],
)
def test_weights_through_timm(name, tag, monkeypatch):
    """timm's part of the work is replaced: the same call, without a download."""
    asked = []
    original = timm.create_model

    def without_download(model_name, pretrained, **options):
        asked.append((model_name, pretrained))
        return original(model_name.split(".")[0], pretrained=False, **options)

    model, cfg = make(name, tag=tag)
    monkeypatch.setattr(pretrained.timm, "create_model", without_download)
    before = next(model.backbone.body.parameters()).clone()
    load_pretrained_backbone(model, cfg)
    assert asked == [(f"{name}.{tag}", True)]
    assert not torch.equal(next(model.backbone.body.parameters()), before)


def test_a_failed_download_says_what_to_do(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    model, cfg = make("resnet18", tag="tv_in1k")
    with pytest.raises(UserError, match=r"'resnet18\.tv_in1k'.*network.*BACKBONE\.WEIGHTS"):
        load_pretrained_backbone(model, cfg)


def test_an_unknown_tag_is_told_with_those_that_timm_has():
    model, cfg = make("resnet18", tag="in22k")
    told = (
        r"no weights 'in22k' for 'resnet18' \(MODEL.BACKBONE.PRETRAINED\), but .*tv_in1k.*WEIGHTS"
    )
    with pytest.raises(ValueError, match=told):
        load_pretrained_backbone(model, cfg)


def test_building_a_backbone_opens_no_connection():
    TimmBackbone(name="resnet50", out_features=LEVELS, freeze_at=2)


def test_weights_that_are_not_finite(tmp_path):
    weights = make()[0].backbone.body.state_dict()
    weights["layer2.0.conv1.weight"][3, 0] = float("inf")
    path = save(tmp_path / "bad.pth", weights)
    with pytest.raises(ValueError, match=r"'body\.layer2\.0\.conv1\.weight' of '.*bad\.pth' holds"):
        load_pretrained_backbone(*make(weights=path))
