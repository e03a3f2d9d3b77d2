"""Checkpoints of MaX-DeepLab and of its ImageNet models in deeplab2 -> ours.

A name there is the path of attributes to a variable: ``encoder/_stage4/_block6/_conv3_bn/_conv/
kernel``. Layouts are TensorFlow's, with the outputs last.
"""

import re

import torch
from torch import Tensor

from ..utils.errors import UserError
from .renaming import Parts, Renames, plus, rename_part, reshaping

_CONV_NORM: Renames = [(r"\.batch_norm\.", ".norm."), (r"\.depthwise_conv\.", ".conv.")]
_HEAD: Renames = [
    (r"^\.(conv_block\.)?conv1_bn_act\.", ".separable."),
    (r"^\.final_conv\.", ".last."),
    *_CONV_NORM,
]
_ENCODER: Renames = [
    (r"^\.memory_feature$", ".memory"),
    (r"^\.(class|mask)_feature_extra\.", r".\1_memory."),
    # The stem of L is one convolution.
    (r"^\.stem\.(?=conv\.|batch_norm\.)", ".stem.0."),
    (r"^\.stem\.conv(\d)_bn(_act)?\.", plus(".stem.{}.", -1)),
    # S calls the first stage after its ImageNet model so.
    (r"^\.decoder_stage4_extra\.", ".stage5_extra."),
    (r"^\.decoder_stage", ".decoder"),
    (r"_resized_fuse\.(resized|strided)_conv_bn1\.", ".fusion.projection."),
    (r"^\.(?=stage|decoder)", ".stages."),
    (r"\.block(\d)\.", plus(".blocks.{}.", -1)),
    (r"\.block(\d)_transformer\.", plus(".transformers.{}.", -1)),
    # residual blocks
    (r"(\.blocks\.\d)\.conv1_bn_act\.", r"\1.branch.first."),
    (r"(\.blocks\.\d)\.conv2_bn_act\.", r"\1.branch.middle."),
    (r"(\.blocks\.\d)\.conv[23]_bn\.", r"\1.branch.last."),
    (r"\.attention\.(height|width)_axis\.", r".branch.attention.\1."),
    (r"\.qkv_kernel$", ".qkv.conv.kernel"),
    (r"\.batch_norm_qkv\.", ".qkv.norm."),
    (r"\.(query|key|value)_rpe\.embeddings$", r".\1_encodings"),
    # dual-path layers
    (r"\.(memory|pixel)_conv1_bn_act\.", r".\1_projection.reduce."),
    (r"\.(memory|pixel)_qkv_conv_bn\.", r".\1_projection.qkv."),
    (r"\.(memory|pixel)_conv3_bn\.", r".\1_out."),
    (r"\.memory_ffn_conv(\d)_bn(_act)?\.", plus(".feed_forward.{}.", -1)),
    # attention of both kinds
    (r"\.batch_norm_similarity\.", ".similarity_norm."),
    (r"\.batch_norm_retrieved_(output|value)\.", ".output_norm."),
    *_CONV_NORM,
]
_ASPP: Renames = [
    (r"^\.aspp\.conv_bn_act\.", ".aspp.convolutions.0."),
    (r"^\.aspp\.aspp_conv(\d)\.conv_bn_act\.", r".aspp.convolutions.\1."),
    (r"^\.aspp\.aspp_pool\.conv_bn_act\.", ".aspp.pool."),
    (r"^\.aspp\.proj_conv_bn_act\.", ".aspp.projection."),
    (r"^\.low_level_conv(\d)\.", plus(".skips.{}.", -1)),
    (r"^\.fusion_conv(\d)\.conv1_bn_act\.", plus(".fusions.{}.", -1)),
    *_CONV_NORM,
]
_PARTS: Parts = {
    "encoder": ("backbone", _ENCODER),
    "pixel_space_head": ("mask_head.pixel_head", _HEAD),
    "pixel_space_feature_batch_norm": ("mask_head.pixel_norm", []),
    "pixel_space_mask_batch_norm": ("mask_head.mask_norm", []),
    "transformer_mask_head": ("mask_head.memory_head", _CONV_NORM),
    "transformer_class_head.conv": ("class_head", [(r"kernel$", "linear_kernel")]),
    "semantic_decoder": ("semantic_head.decoder", _ASPP),
    "semantic_head_without_last_layer": ("semantic_head.head", _HEAD),
    "semantic_last_layer": ("semantic_head.head.last", []),
}
# What the names of our model are made of, beside numbers: what no rename knows stays as it was.
_WORDS = {
    *("backbone", "mask_head", "class_head", "semantic_head", "memory", "class_memory"),
    *("mask_memory", "stem", "stages", "stage", "stage_extra", "decoder", "decoder_extra"),
    *("fusion", "blocks", "branch", "first", "middle", "last", "shortcut", "attention", "height"),
    *("width", "qkv", "query_encodings", "key_encodings", "value_encodings", "similarity_norm"),
    *("output_norm", "transformers", "memory_projection", "pixel_projection", "reduce"),
    *("memory_attention", "pixel_attention", "memory_out", "pixel_out", "feed_forward"),
    *("pixel_head", "pixel_norm", "memory_head", "mask_norm", "head", "separable", "depthwise"),
    *("pointwise", "aspp", "convolutions", "pool", "projection", "skips", "fusions", "conv"),
    *("norm", ""),
}
# The encoder in a file of an ImageNet model, which TensorFlow's Model Garden wrote.
_IMAGENET = "backbone/_encoder/"
# Settings of the optimizers.
_LEFT_OUT = ("optimizer/", "backbone_optimizer/")
_LEAVES = {
    "kernel": "weight",
    "depthwise_kernel": "weight",
    "linear_kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def convert_deeplab2(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Parameters of deeplab2's MaX-DeepLab for COCO, or of its ImageNet model.

    Void is the first channel of the semantic head there, and the last one here. Of an ImageNet
    model the classifier is left out.

    Raises:
        UserError: a name that none of these models has, or a shape that none has there.
    """
    imagenet = {
        path.replace(_IMAGENET, "encoder/"): value
        for path, value in state_dict.items()
        if path.startswith(_IMAGENET)
    }
    converted = {}
    for path, value in (imagenet or state_dict).items():
        if path.startswith(_LEFT_OUT):
            continue
        name = rename_part(re.sub(r"/_?", ".", path), _PARTS)
        before, _, leaf = (name or "").rpartition(".")
        if name is None or not _WORDS.issuperset(re.sub(r"\d+", "", before).split(".")):
            raise UserError(f"'{path}' is no parameter of an official MaX-DeepLab.")
        with reshaping(path, value):
            tensor = _in_our_layout(leaf, value)
            if path.startswith("semantic_last_layer/"):
                tensor = tensor.roll(-1, 0)
        converted[f"{before}.{_LEAVES.get(leaf, leaf)}"] = tensor
        if leaf == "moving_variance":  # batches are not counted there
            converted[f"{before}.num_batches_tracked"] = torch.tensor(0)
    return converted


def _in_our_layout(leaf: str, value: Tensor) -> Tensor:
    if leaf == "depthwise_kernel":  # (h, w, C, 1)
        value = value.permute(2, 3, 0, 1)
    elif leaf == "kernel":  # (h, w, C, D), (1, C, D) of sequences, (C, D) of axial attention
        value = value[(None,) * (4 - value.dim())].permute(3, 2, 0, 1)
    elif leaf in ("memory", "linear_kernel"):  # (1, N, C) and (1, C, D)
        value = value[0].transpose(0, 1)
    elif not leaf.endswith("_encodings"):  # norms of (term, head, channel), each at its place
        value = value.flatten()
    return value.contiguous()
