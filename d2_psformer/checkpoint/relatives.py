"""Checkpoints of the official MaskFormer and Mask2Former -> ours."""

import torch
from torch import Tensor

from ..utils.errors import UserError
from ..utils.wording import counted
from .backbone_names import body_name
from .renaming import Parts, Renames, rename_part, reshaping, substitute

_BACKBONE, _HEAD = "backbone.", "sem_seg_head."

_CONV_NORM: Renames = [(r"^\.norm\.", ".1."), (r"^\.(?=weight|bias)", ".0.")]
_FEED_FORWARD: Renames = [(r"\.linear(\d)\.", r".ffn.linear\1.")]
_ENCODER_LAYER: Renames = [(r"\.norm1\.", ".norm."), (r"\.norm2\.", ".ffn.norm."), *_FEED_FORWARD]
_DETR_LAYER: Renames = [
    (r"\.norm1\.", ".self_norm."),
    (r"\.norm2\.", ".cross_norm."),
    (r"\.norm3\.", ".ffn.norm."),
    (r"\.multihead_attn\.", ".cross_attn."),
    *_FEED_FORWARD,
]
# Mask2Former has a list of its own for each part of a layer.
_SELF_ATTENTION: Renames = [(r"\.norm\.", ".self_norm.")]
_CROSS_ATTENTION: Renames = [(r"\.norm\.", ".cross_norm."), (r"\.multihead_attn\.", ".cross_attn.")]
_FEED_FORWARD_LAYER: Renames = [(r"\.norm\.", ".ffn.norm."), *_FEED_FORWARD]

_QUERIES: Parts = {
    "predictor.query_embed": ("transformer_decoder.query_embed", []),
    "predictor.(class|mask)_embed": (r"transformer_decoder.mask_heads.\1_embed", []),
}
_FPN: Parts = {
    **{f"adapter_{i + 1}": (f"fpn.steps.{i}.lateral", _CONV_NORM) for i in range(3)},
    **{f"layer_{i + 1}": (f"fpn.steps.{i}.output", _CONV_NORM) for i in range(3)},
    "layer_4": ("fpn.coarsest", _CONV_NORM),
    "mask_features": ("fpn.mask_features", []),
}
_MASKFORMER: Parts = {
    **_QUERIES,
    **{f"pixel_decoder.{part}": (f"pixel_decoder.{new}", r) for part, (new, r) in _FPN.items()},
    "(pixel_decoder|predictor).input_proj": ("pixel_decoder.input_projection", []),
    "pixel_decoder.transformer.encoder.layers": ("pixel_decoder.layers", _ENCODER_LAYER),
    "predictor.transformer.decoder.layers": ("transformer_decoder.layers", _DETR_LAYER),
    "predictor.transformer.decoder.norm": ("transformer_decoder.mask_heads.norm", []),
}
_PER_PIXEL: Parts = {
    **{f"pixel_decoder.{part}": (new, renames) for part, (new, renames) in _FPN.items()},
    "predictor": ("classifier", []),
}
_ENCODER = "pixel_decoder.encoder"
# Official levels go from coarse to fine, ours from fine to coarse.
_LEVELS: Parts = {
    f"pixel_decoder.input_proj.{i}": (f"{_ENCODER}.input_projection.projections.{2 - i}", [])
    for i in range(3)
}
_MASK2FORMER: Parts = {
    **_QUERIES,
    **_LEVELS,
    "pixel_decoder.adapter_1": ("pixel_decoder.steps.0.lateral", _CONV_NORM),
    "pixel_decoder.layer_1": ("pixel_decoder.steps.0.output", _CONV_NORM),
    "pixel_decoder.mask_features": ("pixel_decoder.mask_features", []),
    "pixel_decoder.transformer.level_embed": (f"{_ENCODER}.level_embed", []),
    "pixel_decoder.transformer.encoder.layers": (f"{_ENCODER}.layers", _ENCODER_LAYER),
    "predictor.transformer_self_attention_layers": ("transformer_decoder.layers", _SELF_ATTENTION),
    "predictor.transformer_cross_attention_layers": (
        "transformer_decoder.layers",
        _CROSS_ATTENTION,
    ),
    "predictor.transformer_ffn_layers": ("transformer_decoder.layers", _FEED_FORWARD_LAYER),
    "predictor.decoder_norm": ("transformer_decoder.mask_heads.norm", []),
    "predictor.(query_feat|level_embed)": (r"transformer_decoder.\1", []),
}
# Levels of the pixel decoder of every official Mask2Former, and how many numbers each of its heads
# has of a level: x and y, or a weight, of four points.
_NUM_LEVELS = 3
_OF_LEVEL = {"sampling_offsets": 8, "attention_weights": 4}


def convert_maskformer(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Parameters of an official MaskFormer, PerPixelBaseline or PerPixelBaselinePlus, renamed.

    Raises:
        UserError: a name that none of these models has.
    """
    per_pixel = f"{_HEAD}predictor.weight" in state_dict
    return _converted(state_dict, _PER_PIXEL if per_pixel else _MASKFORMER, "MaskFormer")


def convert_mask2former(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Parameters of an official Mask2Former, renamed, and its levels put from fine to coarse.

    Raises:
        UserError: a name that no official Mask2Former has, or another number of levels.
    """
    converted = _converted(state_dict, _MASK2FORMER, "Mask2Former")
    for name, value in converted.items():
        kind = name.rpartition(".")[0].rpartition(".")[2]
        if name == f"{_ENCODER}.level_embed":
            with reshaping(name, value):
                num_levels = len(value)
            if num_levels != _NUM_LEVELS:
                raise UserError(
                    "The pixel decoder of this Mask2Former has "
                    f"{counted(num_levels, 'level')}, but the official code has {_NUM_LEVELS}: "
                    "only those are converted."
                )
            converted[name] = value.flip(0)
        elif kind in _OF_LEVEL:
            with reshaping(name, value):
                by_level = value.unflatten(0, (-1, _NUM_LEVELS, _OF_LEVEL[kind]))
                converted[name] = by_level.flip(1).flatten(0, 2)
    return converted


def _converted(state_dict: dict[str, Tensor], parts: Parts, whose: str) -> dict[str, Tensor]:
    """The parameters under our names."""
    if f"{_BACKBONE}stem.conv2.weight" in state_dict:
        raise UserError(
            "The ResNet of this checkpoint has three convolutions in its stem and dilated ones in "
            "its last stage (R101c there), of which we have none: use that of R101."
        )
    state_dict = _newest_names(state_dict)
    converted = {}
    for key, value in state_dict.items():
        if key == "criterion.empty_weight":  # a setting of the loss
            continue
        if key.startswith(_BACKBONE):
            body = body_name(key.removeprefix(_BACKBONE), state_dict, _BACKBONE, num_levels=4)
            if body is None:
                continue
            name = f"{_BACKBONE}{body}"
            if name.endswith(".running_var"):  # frozen norms do not count batches there
                count = name.replace("running_var", "num_batches_tracked")
                converted.setdefault(count, torch.tensor(0))
        else:
            name = rename_part(key.removeprefix(_HEAD), parts)
        if name is None:
            raise UserError(f"'{key}' is no parameter of an official {whose}.")
        converted[name] = value
    return converted


def _newest_names(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names of the present official code for those of its earlier versions.

    Files do not say their version, and the official code takes any file without one for an old one,
    which spoils new files. The names themselves decide here.
    """
    old = not any("pixel_decoder." in key for key in state_dict)
    renames = [(r"static_query", "query_feat")]
    if old:
        renames.append((rf"^{_HEAD}(?!predictor\.)", f"{_HEAD}pixel_decoder."))
    return {substitute(key, renames): value for key, value in state_dict.items()}
