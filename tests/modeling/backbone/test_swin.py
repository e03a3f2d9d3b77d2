"""Our Swin against transformers' SwinBackbone, through the official Swin's parameter names."""

import re

import pytest
import torch

from d2_psformer.checkpoint.backbone_names import body_name
from d2_psformer.modeling.backbone import TimmBackbone

# transformers' name: the official one
_RENAMES = [
    (r"^swin\.embeddings\.patch_embeddings\.projection", "patch_embed.proj"),
    (r"^swin\.embeddings\.norm", "patch_embed.norm"),
    (r"^swin\.encoder\.", ""),
    (r"^hidden_states_norms\.stage(\d)", lambda m: f"norm{int(m[1]) - 1}"),
    (r"attention\.relative_position_bias\.", "attn."),
    (r"attention\.o_proj", "attn.proj"),
    (r"layernorm_before", "norm1"),
    (r"layernorm_after", "norm2"),
]


def official_name(key: str) -> str:
    for pattern, name in _RENAMES:
        key = re.sub(pattern, name, key)
    return key


def official_names(state_dict: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    official = {}
    for key, value in state_dict.items():
        if "attention.q_proj" in key:
            merged = [state_dict[key.replace("q_proj", f"{x}_proj")] for x in "qkv"]
            official[official_name(key).replace("attention.q_proj", "attn.qkv")] = torch.cat(merged)
        elif not re.search(r"attention\.[kv]_proj|^swin\.layernorm", key):
            official[official_name(key)] = value
    return official


@pytest.fixture(scope="module")
def pair():
    """The smallest Swin that timm knows, and transformers' with the same random weights."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.SwinConfig(out_features=["stage2", "stage3", "stage4"])
    theirs = transformers.SwinBackbone(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    ours = TimmBackbone(
        name="swin_tiny_patch4_window7_224", out_features=["res3", "res4", "res5"]
    ).eval()
    official = official_names(theirs.state_dict())
    ours.load_state_dict({body_name(key, official): value for key, value in official.items()})
    return ours, theirs


# multiples of window and patch; of the patch alone; of neither
@pytest.mark.parametrize("size", [(224, 224), (96, 160), (101, 131)])
def test_equals_transformers(pair, size):
    ours, theirs = pair
    image = torch.randn(2, 3, *size)
    with torch.no_grad():
        features = ours(image)
        expected = theirs(image).feature_maps
    for (name, feature), golden in zip(features.items(), expected, strict=True):
        assert feature.shape == golden.shape
        assert (feature - golden).abs().max() <= 1e-4 * golden.abs().max(), name


def test_shifts_windows_in_the_last_stage_too(pair):
    last = pair[0].body.layers_3.blocks
    assert [block.shift_size for block in last] == [(0, 0), (3, 3)]
