"""Checkpoints of the official MaskFormer and Mask2Former repositories -> ours."""

import re

import torch
from torch import Tensor

from ..utils.errors import UserError
from .backbone_names import body_name

_HEAD = "sem_seg_head."

# Detectron2's ResNet -> torchvision's names, which timm has too.
_RESNET = [
    (r"^stem\.conv1\.norm\.", "bn1."),
    (r"^stem\.conv1\.", "conv1."),
    (r"^res(\d)\.", lambda match: f"layer{int(match[1]) - 1}."),
    (r"\.shortcut\.norm\.", ".downsample.1."),
    (r"\.shortcut\.", ".downsample.0."),
    (r"\.conv(\d)\.norm\.", r".bn\1."),
]
_CONV_NORM = [(r"^\.norm\.", ".1."), (r"^\.(?=weight|bias)", ".0.")]
_FEED_FORWARD = [(r"\.linear(\d)\.", r".ffn.linear\1.")]
_ENCODER_LAYER = [(r"\.norm1\.", ".norm."), (r"\.norm2\.", ".ffn.norm."), *_FEED_FORWARD]
_DECODER_LAYER = [
    (r"\.norm1\.", ".self_norm."),
    (r"\.norm2\.", ".cross_norm."),
    (r"\.norm3\.", ".ffn.norm."),
    (r"\.multihead_attn\.", ".cross_attn."),
    *_FEED_FORWARD,
]
_DECODER = "transformer_decoder"

# Official name, without "sem_seg_head." -> (ours, what is renamed behind it). A number in
# parentheses is kept, one in braces is counted on from the official one.
_SHARED = {
    r"predictor\.query_embed": (f"{_DECODER}.query_embed", []),
    r"predictor\.class_embed": (f"{_DECODER}.mask_heads.class_embed", []),
    r"predictor\.mask_embed": (f"{_DECODER}.mask_heads.mask_embed", []),
}
_FPN = {
    **{
        rf"pixel_decoder\.{part}_{number}": (f"fpn.steps.{number - 1}.{ours}", _CONV_NORM)
        for part, ours in (("adapter", "lateral"), ("layer", "output"))
        for number in (1, 2, 3)
    },
    r"pixel_decoder\.layer_4": ("fpn.coarsest", _CONV_NORM),
    r"pixel_decoder\.mask_features": ("fpn.mask_features", []),
}
_MASKFORMER = {
    **_SHARED,
    **{official: (f"pixel_decoder.{ours}", inner) for official, (ours, inner) in _FPN.items()},
    r"(?:pixel_decoder|predictor)\.input_proj": ("pixel_decoder.input_projection", []),
    r"pixel_decoder\.transformer\.encoder\.layers": ("pixel_decoder.layers", _ENCODER_LAYER),
    r"predictor\.transformer\.decoder\.layers": (f"{_DECODER}.layers", _DECODER_LAYER),
    r"predictor\.transformer\.decoder\.norm": (f"{_DECODER}.mask_heads.norm", []),
}
_PER_PIXEL = {**_FPN, r"predictor": ("classifier", [])}
_MASK2FORMER = {
    **_SHARED,
    r"pixel_decoder\.adapter_1": ("pixel_decoder.step.lateral", _CONV_NORM),
    r"pixel_decoder\.layer_1": ("pixel_decoder.step.output", _CONV_NORM),
    r"pixel_decoder\.mask_features": ("pixel_decoder.mask_features", []),
    # from coarse to fine there, from fine to coarse here
    **{
        rf"pixel_decoder\.input_proj\.{i}": (
            f"pixel_decoder.encoder.input_projection.projections.{2 - i}",
            [],
        )
        for i in range(3)
    },
    r"pixel_decoder\.transformer\.level_embed": ("pixel_decoder.encoder.level_embed", []),
    r"pixel_decoder\.transformer\.encoder\.layers": (
        "pixel_decoder.encoder.layers",
        _ENCODER_LAYER,
    ),
    r"predictor\.transformer_self_attention_layers": (
        f"{_DECODER}.layers",
        [(r"\.norm\.", ".self_norm.")],
    ),
    r"predictor\.transformer_cross_attention_layers": (
        f"{_DECODER}.layers",
        [(r"\.norm\.", ".cross_norm."), (r"\.multihead_attn\.", ".cross_attn.")],
    ),
    r"predictor\.transformer_ffn_layers": (
        f"{_DECODER}.layers",
        [(r"\.norm\.", ".ffn.norm."), *_FEED_FORWARD],
    ),
    r"predictor\.decoder_norm": (f"{_DECODER}.mask_heads.norm", []),
    r"predictor\.query_feat": (f"{_DECODER}.query_feat", []),
    r"predictor\.level_embed": (f"{_DECODER}.level_embed", []),
}
# Attention heads of the pixel decoder of every released Mask2Former.
_ENCODER_HEADS = 8


def convert_maskformer(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Parameters of an official MaskFormer, PerPixelBaseline or PerPixelBaselinePlus, renamed.

    Raises:
        UserError: a name that none of these models has.
    """
    state_dict = _newest_names(state_dict)
    if f"{_HEAD}pixel_decoder.transformer.level_embed" in state_dict:
        raise UserError(
            "This is a checkpoint of Mask2Former: convert it with --source mask2former."
        )
    per_pixel = f"{_HEAD}predictor.weight" in state_dict
    return _renamed(state_dict, _PER_PIXEL if per_pixel else _MASKFORMER, "MaskFormer")


def convert_mask2former(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Parameters of an official Mask2Former, renamed, and its levels put from fine to coarse.

    Raises:
        UserError: a name that no official Mask2Former has.
    """
    state_dict = _newest_names(state_dict)
    levels = state_dict.get(f"{_HEAD}pixel_decoder.transformer.level_embed")
    if levels is None:
        raise UserError(
            "This is no checkpoint of Mask2Former, as it has no 'transformer.level_embed': if it "
            "is one of MaskFormer, convert it with --source maskformer."
        )
    converted = _renamed(state_dict, _MASK2FORMER, "Mask2Former")
    for name, value in converted.items():
        if name == "pixel_decoder.encoder.level_embed":
            converted[name] = value.flip(0)
        elif ".self_attn.sampling_offsets." in name or ".self_attn.attention_weights." in name:
            by_level = value.unflatten(0, (_ENCODER_HEADS, len(levels), -1))
            converted[name] = by_level.flip(1).flatten(0, 2)
    return converted


def _renamed(
    state_dict: dict[str, Tensor], table: dict[str, tuple[str, list]], whose: str
) -> dict[str, Tensor]:
    """The parameters under our names; the weights of the loss, which are a setting, are left out."""
    converted = {}
    for key, value in state_dict.items():
        if key.startswith("backbone."):
            name = _backbone_name(key, state_dict)
            if name is None:
                continue
            if name.endswith(".running_var"):  # frozen norms do not count batches there
                count = name.replace(".running_var", ".num_batches_tracked")
                converted.setdefault(count, torch.tensor(0))
        elif key == "criterion.empty_weight":
            continue
        else:
            name = _head_name(key.removeprefix(_HEAD), table)
        if name is None:
            raise UserError(f"'{key}' is no parameter of an official {whose}.")
        converted[name] = value
    return converted


def _backbone_name(key: str, state_dict: dict[str, Tensor]) -> str | None:
    name = key.removeprefix("backbone.")
    for pattern, ours in _RESNET if "backbone.stem.conv1.weight" in state_dict else ():
        name = re.sub(pattern, ours, name)
    # All four stages of Swin have an output here, so that the first norm is that of the first one.
    if match := re.fullmatch(r"norm(\d)\.(\w+)", name):
        return f"backbone.output_norms.{match[1]}.{match[2]}"
    name = body_name(name, state_dict, prefix="backbone.")
    return None if name is None else f"backbone.{name}"


def _head_name(key: str, table: dict[str, tuple[str, list]]) -> str | None:
    for pattern, (ours, inner) in table.items():
        if match := re.match(rf"{pattern}(?=\.|$)", key):
            rest = key[match.end() :]
            for old, new in inner:
                rest = re.sub(old, new, rest)
            return ours + rest
    return None


def _newest_names(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names of the present official code for those of its earlier versions.

    Files do not say their version, and the official code takes any file without one for an old one,
    which spoils new files. The names themselves decide here.
    """
    old = not any("pixel_decoder." in key for key in state_dict)
    renamed = {}
    for key, value in state_dict.items():
        key = key.replace("static_query", "query_feat")
        if old and key.startswith(_HEAD) and not key.startswith(f"{_HEAD}predictor"):
            key = f"{_HEAD}pixel_decoder.{key.removeprefix(_HEAD)}"
        renamed[key] = value
    return renamed
