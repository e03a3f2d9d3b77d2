"""Checkpoints of MaskFormer and Mask2Former in Hugging Face's ``transformers`` -> ours.

The names become those of the official code first: what differs between that and ours is in
:mod:`.relatives`. Files have the names of transformers 4, models of transformers 5 others.
"""

import re

import torch
from torch import Tensor

from ..utils.errors import UserError
from .relatives import convert_mask2former, convert_maskformer
from .renaming import Parts, Renames, plus, rename_all, reshaping

_SWIN_LAYER: Renames = [
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.attention\.output\.dense\.|\.attention\.o_proj\.", ".attn.proj."),
    (r"\.attention\.self\.(query|key|value)\.", lambda match: f".attn.{match[1][0]}_proj."),
    (r"\.attention\.(self\.|relative_position_bias\.)?", ".attn."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
]
_CONV_NORM: Renames = [(r"\.(convolution|0)\.", "."), (r"\.(normalization|1)\.", ".norm.")]
_RESNET_BLOCK: Renames = [
    (r"\.layer\.(\d)\.", plus(".conv{}.", 1)),
    (r"\.convolution\.", "."),
    (r"\.normalization\.", ".norm."),
]
_ENCODER_LAYER: Renames = [
    (r"\.self_attn_layer_norm\.", ".norm1."),
    (r"\.final_layer_norm\.", ".norm2."),
    (r"\.fc(\d)\.", r".linear\1."),
]
_DETR_LAYER: Renames = [
    (r"\.self_attn_layer_norm\.", ".norm1."),
    (r"\.encoder_attn_layer_norm\.", ".norm2."),
    (r"\.final_layer_norm\.", ".norm3."),
    (r"\.encoder_attn\.", ".multihead_attn."),
    (r"\.o_proj\.", ".out_proj."),
    (r"\.(mlp\.)?fc(\d)\.", r".linear\2."),
]

_IMAGE = "model.pixel_level_module.encoder"
_PIXELS, _OFFICIAL_PIXELS = "model.pixel_level_module.decoder", "sem_seg_head.pixel_decoder"
_QUERIES, _PREDICTOR = "model.transformer_module", "sem_seg_head.predictor"

_SHARED: Parts = {
    rf"{_IMAGE}(\.swin|\.model)?.embeddings.patch_embeddings.projection": (
        "backbone.patch_embed.proj",
        [],
    ),
    rf"{_IMAGE}(\.swin|\.model)?.embeddings.norm": ("backbone.patch_embed.norm", []),
    rf"{_IMAGE}(\.swin|\.model)?.encoder.layers": ("backbone.layers", _SWIN_LAYER),
    rf"{_IMAGE}(\.swin|\.model)?.layernorm": ("backbone.norm", []),
    **{
        f"{_IMAGE}.hidden_states_norms.(stage{i + 1}|{i})": (f"backbone.norm{i}", [])
        for i in range(4)
    },
    f"{_IMAGE}.embedder.embedder": ("backbone.stem.conv1", _CONV_NORM),
    **{
        f"{_IMAGE}.encoder.stages.{i}.layers": (f"backbone.res{i + 2}", _RESNET_BLOCK)
        for i in range(4)
    },
    f"{_PIXELS}.mask_projection": (f"{_OFFICIAL_PIXELS}.mask_features", []),
    f"{_QUERIES}.queries_embedder": (f"{_PREDICTOR}.query_embed", []),
    "class_predictor": (f"{_PREDICTOR}.class_embed", []),
    "criterion.empty_weight": ("criterion.empty_weight", []),
}
_MASKFORMER: Parts = {
    **_SHARED,
    f"{_PIXELS}.fpn.stem": (f"{_OFFICIAL_PIXELS}.layer_4", _CONV_NORM),
    **{
        f"{_PIXELS}.fpn.layers.{i}.{theirs}": (f"{_OFFICIAL_PIXELS}.{name}_{3 - i}", _CONV_NORM)
        for theirs, name in (("proj", "adapter"), ("block", "layer"))
        for i in range(3)
    },
    f"{_QUERIES}.input_projection": (f"{_PREDICTOR}.input_proj", []),
    f"{_QUERIES}.decoder.layers": (f"{_PREDICTOR}.transformer.decoder.layers", _DETR_LAYER),
    f"{_QUERIES}.decoder.layernorm": (f"{_PREDICTOR}.transformer.decoder.norm", []),
    r"mask_embedder.(\d).0": (rf"{_PREDICTOR}.mask_embed.layers.\1", []),
}
_LAYER = rf"{_QUERIES}.decoder.layers.(\d+)"
_MASK2FORMER: Parts = {
    **_SHARED,
    rf"{_PIXELS}.(adapter|layer)_1": (rf"{_OFFICIAL_PIXELS}.\1_1", _CONV_NORM),
    f"{_PIXELS}.input_projections": (f"{_OFFICIAL_PIXELS}.input_proj", []),
    f"{_PIXELS}.level_embed": (f"{_OFFICIAL_PIXELS}.transformer.level_embed", []),
    f"{_PIXELS}.encoder.layers": (f"{_OFFICIAL_PIXELS}.transformer.encoder.layers", _ENCODER_LAYER),
    f"{_QUERIES}.queries_features": (f"{_PREDICTOR}.query_feat", []),
    f"{_QUERIES}.level_embed": (f"{_PREDICTOR}.level_embed", []),
    f"{_QUERIES}.decoder.layernorm": (f"{_PREDICTOR}.decoder_norm", []),
    rf"{_QUERIES}.decoder.mask_predictor.mask_embedder.(\d).0": (
        rf"{_PREDICTOR}.mask_embed.layers.\1",
        [],
    ),
    **{
        f"{_LAYER}.{theirs}": (rf"{_PREDICTOR}.transformer_{part}_layers.\1.{name}", [])
        for theirs, part, name in (
            ("self_attn", "self_attention", "self_attn"),
            ("self_attn_layer_norm", "self_attention", "norm"),
            ("cross_attn", "cross_attention", "multihead_attn"),
            ("cross_attn_layer_norm", "cross_attention", "norm"),
            ("fc1", "ffn", "linear1"),
            ("fc2", "ffn", "linear2"),
            ("final_layer_norm", "ffn", "norm"),
        )
    },
}


def convert_hf_maskformer(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Parameters of ``MaskFormerForInstanceSegmentation``, renamed.

    Raises:
        UserError: a name that it has not.
    """
    renamed = rename_all(state_dict, _MASKFORMER, "a MaskFormer of transformers")
    return convert_maskformer(packed(renamed))


def convert_hf_mask2former(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Parameters of ``Mask2FormerForUniversalSegmentation``, renamed.

    Raises:
        UserError: a name that it has not.
    """
    renamed = rename_all(state_dict, _MASK2FORMER, "a Mask2Former of transformers")
    return convert_mask2former(packed(renamed))


def packed(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """One matrix for queries, keys and values, as official attention has, in place of three."""
    packed = {}
    for key, value in state_dict.items():
        if match := re.fullmatch(r"(.+)\.q_proj\.(weight|bias)", key):
            three = [f"{match[1]}.{x}_proj.{match[2]}" for x in "qkv"]
            if missing := [name for name in three if name not in state_dict]:
                raise UserError(f"'{missing[0]}' is missing beside '{key}': is the file complete?")
            kind = "qkv." if match[1].endswith(".attn") else "in_proj_"
            with reshaping(key, value):
                packed[f"{match[1]}.{kind}{match[2]}"] = torch.cat([state_dict[x] for x in three])
        elif not re.search(r"\.[kv]_proj\.", key):
            packed[key] = value
    return packed
