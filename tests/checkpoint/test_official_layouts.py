"""Backbones of other code bases, saved under their authors' names, loaded and computed alike."""

import re
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from d2_psformer.checkpoint import load_pretrained_backbone
from d2_psformer.modeling.backbone import TimmBackbone

LEVELS = ["res3", "res4", "res5"]
Weights = dict[str, Tensor]


def renamed(state_dict: Weights, names: list[tuple[str, str | Callable]]) -> Weights:
    result = {}
    for key, value in state_dict.items():
        for pattern, name in names:
            key = re.sub(pattern, name, key)  # noqa: PLW2901
        result[key] = value
    return result


def plus(pattern: str, one: int) -> Callable:
    return lambda match: pattern.format(int(match[1]) + one)


def torchvision_resnet(name: str):
    models = pytest.importorskip("torchvision").models
    theirs = models.get_model(name, weights=None)

    def features(image: Tensor) -> list[Tensor]:
        x = theirs.layer1(theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(image)))))
        maps = []
        for layer in (theirs.layer2, theirs.layer3, theirs.layer4):
            x = layer(x)
            maps.append(x)
        return maps

    return theirs, theirs.state_dict, features


def torchvision_swin():
    theirs = pytest.importorskip("torchvision").models.swin_t(weights=None)

    def features(image: Tensor) -> list[Tensor]:
        maps, x = [], image
        for index, part in enumerate(theirs.features):
            x = part(x)
            if index in (3, 5, 7):
                # a detector's output norms, which classifiers do not have, begin neutral
                maps.append(F.layer_norm(x, x.shape[-1:]).permute(0, 3, 1, 2))
        return maps

    return theirs, theirs.state_dict, features


PVT_NAMES = [
    (r"^encoder\.layers\.(\d)\.patch_embedding\.", plus("patch_embed{}.", 1)),
    (r"^encoder\.layers\.(\d)\.blocks\.", plus("block{}.", 1)),
    (r"^encoder\.layers\.(\d)\.layer_norm\.", plus("norm{}.", 1)),
    (r"layer_norm_(\d)", r"norm\1"),
    (r"layer_norm", "norm"),
    (r"attention\.query", "attn.q"),
    (r"attention\.spatial_reduction", "attn.sr"),
    (r"attention\.", "attn."),
    (r"dense(\d)", r"fc\1"),
]


def transformers_pvt(**options):
    """whai362/PVT's names: keys and values are one matrix there."""
    transformers = pytest.importorskip("transformers")
    config = transformers.PvtV2Config(out_features=["stage2", "stage3", "stage4"], **options)
    theirs = transformers.PvtV2Backbone(config)

    def official() -> Weights:
        weights = renamed(theirs.state_dict(), PVT_NAMES)
        for key in [k for k in weights if ".attn.key." in k]:
            both = [weights.pop(key), weights.pop(key.replace("key", "value"))]
            weights[key.replace("key", "kv")] = torch.cat(both)
        return weights | {"head.weight": torch.zeros(1000, 256), "head.bias": torch.zeros(1000)}

    return theirs, official, lambda image: theirs(image).feature_maps


CONVNEXT_NAMES = [
    (r"^embeddings\.patch_embeddings", "downsample_layers.0.0"),
    (r"^embeddings\.layernorm", "downsample_layers.0.1"),
    (r"^encoder\.stages\.(\d)\.downsampling_layer", r"downsample_layers.\1"),
    (r"^encoder\.stages\.(\d)\.layers", r"stages.\1"),
    (r"layer_scale_parameter", "gamma"),
    (r"layernorm", "norm"),
    (r"^hidden_states_norms\.stage(\d)", plus("norm{}", -1)),
]


def transformers_convnext():
    transformers = pytest.importorskip("transformers")
    config = transformers.ConvNextConfig(
        out_features=["stage2", "stage3", "stage4"], hidden_sizes=[96, 192, 384, 768]
    )
    theirs = transformers.ConvNextBackbone(config)
    return (
        theirs,
        lambda: {"model": renamed(theirs.state_dict(), CONVNEXT_NAMES)},
        lambda image: theirs(image).feature_maps,
    )


B2 = {"hidden_sizes": [64, 128, 320, 512], "depths": [3, 4, 6, 3]}
# timm's name: theirs; the size of an image that both can take
CASES = {
    "resnet50": (partial(torchvision_resnet, "resnet50"), (75, 101)),
    "swin_tiny_patch4_window7_224": (torchvision_swin, (256, 288)),
    "pvt_v2_b0": (partial(transformers_pvt, hidden_sizes=[32, 64, 160, 256]), (75, 101)),
    "pvt_v2_b2_li": (partial(transformers_pvt, linear_attention=True, **B2), (75, 101)),
    "convnext_tiny": (transformers_convnext, (64, 96)),
}


def shake(model: nn.Module) -> None:
    """Random numbers wherever there are zeros and ones at first, and statistics of batch norms."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
        for name, buffer in model.named_buffers():
            if "running" in name:
                buffer.add_(torch.rand_like(buffer) * 0.1)


@pytest.mark.parametrize("name", CASES)
def test_a_file_of_its_authors_gives_their_features(name, tmp_path):
    make, size = CASES[name]
    theirs, official, features = make()
    shake(theirs.eval())
    torch.save(official(), tmp_path / "official.pth")
    ours = TimmBackbone(name=name, out_features=LEVELS)
    node = SimpleNamespace(NAME="TimmBackbone", WEIGHTS=str(tmp_path / "official.pth"))
    config = SimpleNamespace(MODEL=SimpleNamespace(BACKBONE=node))
    load_pretrained_backbone(SimpleNamespace(backbone=ours), config)
    image = torch.randn(1, 3, *size)
    with torch.no_grad():
        found, expected = ours.eval()(image), features(image)
    for level, golden in zip(LEVELS, expected, strict=True):
        assert found[level].shape == golden.shape
        assert (found[level] - golden).abs().max() <= 1e-4 * golden.abs().max(), level
