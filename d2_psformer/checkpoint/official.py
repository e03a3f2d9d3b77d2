"""Checkpoints of the official Panoptic SegFormer (package ``easymd``) -> ours."""

import re

from torch import Tensor

from ..utils.errors import UserError
from .backbone_names import body_name
from .renaming import rename_part, substitute

# Older releases used these names.
_OLDER_NAMES = [
    (r"\.mask_head\.", ".things_mask_head."),
    (r"\.mask_head2\.", ".stuff_mask_head."),
    (r"\.cls_branches2\.", ".cls_thing_branches."),
]

# These two sets of branches never get a gradient and are not used at inference: we have none.
_UNUSED = re.compile(r"^bbox_head\.(reg_branches2|cls_thing_branches)\.")

_CONV_NORM = [(r"\.conv\.", ".0."), (r"\.gn\.", ".1.")]
_FEED_FORWARD = [
    (r"\.ffns\.0\.layers\.0\.0\.", ".ffn.linear1."),
    (r"\.ffns\.0\.layers\.1\.", ".ffn.linear2."),
]
_ENCODER_LAYER = [
    (r"\.attentions\.0\.", ".self_attn."),
    *_FEED_FORWARD,
    (r"\.norms\.0\.", ".norm."),
    (r"\.norms\.1\.", ".ffn.norm."),
]
_DECODER_LAYER = [
    (r"\.attentions\.0\.attn\.", ".self_attn."),
    (r"\.attentions\.1\.", ".cross_attn."),
    *_FEED_FORWARD,
    (r"\.norms\.0\.", ".norm1."),
    (r"\.norms\.1\.", ".norm2."),
    (r"\.norms\.2\.", ".ffn.norm."),
]
_BOX_BRANCH = [(rf"^\.(\d)\.{2 * layer}\.", rf".\1.layers.{layer}.") for layer in range(3)]
_MASK_HEAD = [
    (r"\.attnen\.", ".final_attention."),
    *((rf"\.linear_l{level + 1}\.0\.", f".level_fc.{level}.") for level in range(3)),
    (r"\.linear\.0\.", ".mask_fc."),
    (r"\.self_attention\.qkv\.", ".self_attn.in_proj_"),
    (r"\.self_attention\.proj\.", ".self_attn.out_proj."),
    (r"\.attn\.proj\.", ".attn.out_proj."),
    (r"\.(attn|final_attention)\.([qkv])\.", r".\1.\2_proj."),
    (r"\.attn\.", ".cross_attn."),
    (r"\.norm3\.", ".self_norm."),
    (r"\.head_norm1\.", ".cross_norm."),
    (r"\.head_norm2\.", ".ffn.norm."),
    (r"\.mlp\.fc(\d)\.", r".ffn.linear\1."),
]

# official prefix: (our prefix, what is renamed behind it)
_PARTS = {
    "neck.convs": ("pixel_decoder.input_projection.projections", _CONV_NORM),
    "neck.extra_convs": ("pixel_decoder.input_projection.extra", _CONV_NORM),
    "bbox_head.transformer.level_embeds": ("pixel_decoder.level_embed", []),
    "bbox_head.transformer.encoder.layers": ("pixel_decoder.layers", _ENCODER_LAYER),
    "bbox_head.transformer.decoder.layers": ("location_decoder.layers", _DECODER_LAYER),
    "bbox_head.transformer.reference_points": ("location_decoder.reference_points", []),
    "bbox_head.query_embedding": ("location_decoder.query_embed", []),
    "bbox_head.cls_branches": ("location_decoder.class_embed", []),
    "bbox_head.reg_branches": ("location_decoder.box_embed", _BOX_BRANCH),
    "bbox_head.things_mask_head": ("thing_mask_decoder", _MASK_HEAD),
    "bbox_head.stuff_mask_head": ("stuff_decoder.mask_decoder", _MASK_HEAD),
    "bbox_head.stuff_query": ("stuff_decoder.query_embed", []),
    "bbox_head.cls_stuff_branches": ("stuff_decoder.class_embed", []),
}


def convert_official(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the parameters of an official checkpoint, older releases included.

    Args:
        state_dict: the checkpoint's ``state_dict``.

    Returns:
        The state dict of the :class:`PanopticSegFormer` of the same backbone.

    Raises:
        UserError: a name that no official model has.
    """
    converted = {}
    for key, value in state_dict.items():
        name = rename(key, state_dict)
        if name is not None:
            converted[name] = value
    return converted


def rename(key: str, state_dict: dict[str, Tensor]) -> str | None:
    """Our name of one official parameter; None where we have no such parameter."""
    key = key.removeprefix("module.")
    if key.startswith("backbone."):
        name = body_name(key.removeprefix("backbone."), state_dict, prefix="backbone.")
        return None if name is None else f"backbone.{name}"
    key = substitute(key, _OLDER_NAMES)
    if _UNUSED.match(key):
        return None
    if name := rename_part(key, _PARTS):
        return name
    raise UserError(
        f"'{key}' is no parameter of an official Panoptic SegFormer: is this its checkpoint?"
    )
