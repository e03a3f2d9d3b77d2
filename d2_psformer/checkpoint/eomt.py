"""Checkpoints of EoMT, by its authors and of transformers -> ours.

Both have DINOv2 and DINOv3. The authors' files have timm's names for DINOv2, and nearly those of
transformers for DINOv3.
"""

import re

from torch import Tensor

from ..utils.errors import UserError
from .dino_names import DINOV2_BLOCK, DINOV3_BLOCK
from .huggingface import packed
from .renaming import Parts, Renames, rename_all

_ENCODER, _VIT = "network.encoder.backbone", "backbone.vit"
# Zero in a file of differences to DINOv3's weights, and never in any other.
_MEAN = "network.encoder.pixel_mean"
# Settings, and what DINOv3 has for its own training alone.
_UNUSED = r"criterion\.empty_weight|network\.encoder\.pixel_(mean|std)|embeddings\.mask_token"

_UPSCALING: Renames = [
    (r"\.conv1\.", ".up."),
    (r"\.conv2\.", ".depthwise."),
    (r"\.layernorm2d\.", ".norm."),
]
_OFFICIAL: Parts = {
    f"{_ENCODER}.patch_embed.cls_token": (f"{_VIT}.cls_token", []),
    f"{_ENCODER}.patch_embed.register_tokens": (f"{_VIT}.reg_token", []),
    f"{_ENCODER}.patch_embed.patch_embeddings": (f"{_VIT}.patch_embed.proj", []),
    _ENCODER: (_VIT, DINOV3_BLOCK),
    "network.q": ("query_embed", []),
    "network.class_head": ("class_embed", []),
    **{f"network.mask_head.{2 * i}": (f"mask_embed.layers.{i}", []) for i in range(3)},
    "network.upscale": ("upscaling", _UPSCALING),
    "network.attn_mask_probs": ("annealing.probabilities", []),
}
_HF: Parts = {
    "embeddings.cls_token": (f"{_VIT}.cls_token", []),
    "embeddings.register_tokens": (f"{_VIT}.reg_token", []),
    "embeddings.position_embeddings.weight": (f"{_VIT}.pos_embed", []),
    r"embeddings.patch_embeddings(\.projection)?": (f"{_VIT}.patch_embed.proj", []),
    "layernorm": (f"{_VIT}.norm", []),
    "query": ("query_embed", []),
    "class_predictor": ("class_embed", []),
    **{f"mask_head.fc{i + 1}": (f"mask_embed.layers.{i}", []) for i in range(3)},
    "upscale_block.block": ("upscaling", _UPSCALING),
    "attn_mask_probs": ("annealing.probabilities", []),
}
_HF_DINOV2: Parts = {**_HF, "layers": (f"{_VIT}.blocks", DINOV2_BLOCK)}
_HF_DINOV3: Parts = {**_HF, "layers": (f"{_VIT}.blocks", DINOV3_BLOCK)}
# DINOv3 of transformers -> the authors' names.
_BASE: Parts = {
    "embeddings": (f"{_ENCODER}.patch_embed", []),
    r"(model\.)?layer": (f"{_ENCODER}.blocks", []),
    "norm": (f"{_ENCODER}.norm", []),
}


def convert_eomt(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Parameters of the authors' EoMT, renamed.

    Raises:
        UserError: a name that it has not, or the file has differences to DINOv3's weights.
    """
    if _is_delta(state_dict):
        raise UserError(
            "This file has the differences to DINOv3's weights alone: give the file with these, "
            "the model.safetensors of Meta's DINOv3 of the same size, too, with --base."
        )
    return packed(rename_all(_used(state_dict), _OFFICIAL, "an official EoMT"))


def convert_hf_eomt(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Parameters of an ``EomtForUniversalSegmentation`` or its sister for DINOv3, renamed.

    Raises:
        UserError: a name that they have not.
    """
    learned_positions = "embeddings.position_embeddings.weight" in state_dict
    parts = _HF_DINOV2 if learned_positions else _HF_DINOV3
    converted = packed(rename_all(_used(state_dict), parts, "an EoMT of transformers"))
    if learned_positions:
        converted[f"{_VIT}.pos_embed"] = converted[f"{_VIT}.pos_embed"][None]
    return converted


def add_base(state_dict: dict[str, Tensor], base: dict[str, Tensor]) -> dict[str, Tensor]:
    """The whole state dict from the authors' differences to DINOv3's weights.

    Args:
        base: DINOv3's weights, with the names of transformers.

    Raises:
        UserError: ``state_dict`` is whole already, or ``base`` are the weights of another model.
    """
    if not _is_delta(state_dict):
        raise UserError("This file has no differences to other weights: leave --base out.")
    whole = _used(state_dict)
    base = rename_all(base, _BASE, "a DINOv3 of transformers")
    for name in whole:
        if name.startswith(_ENCODER):
            if name not in base or base[name].shape != whole[name].shape:
                raise UserError(
                    f"'{name}' is not in the file of --base in this shape: give DINOv3's weights "
                    "of the size that the name of the checkpoint says (ViT-S, -B or -L)."
                )
            whole[name] = base[name] + whole[name]
    probabilities = "network.attn_mask_probs"  # a difference to 1, their first values
    whole[probabilities] = whole[probabilities] + 1
    return whole


def _is_delta(state_dict: dict[str, Tensor]) -> bool:
    return _MEAN in state_dict and not state_dict[_MEAN].any()


def _used(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: x for name, x in state_dict.items() if not re.fullmatch(_UNUSED, name)}
