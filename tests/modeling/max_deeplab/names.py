"""deeplab2's names and layouts of MaX-DeepLab's variables, for weights that follow from names."""

import re
from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# Patterns of our names -> deeplab2's, applied one after another.
_RENAMES = (
    (r"^backbone\.", ""),
    (r"^memory$", "memory_feature"),
    (r"^(class|mask)_memory\.", r"\1_feature_extra/"),
    (r"^mask_head\.(pixel_head)", r"MaXDeepLab/pixel_space_head"),
    (r"^mask_head\.memory_head\.", "MaXDeepLab/transformer_mask_head/"),
    (r"^mask_head\.pixel_norm\.", "MaXDeepLab/pixel_space_feature_batch_norm/"),
    (r"^mask_head\.mask_norm\.", "MaXDeepLab/pixel_space_mask_batch_norm/"),
    (r"^class_head\.", "MaXDeepLab/transformer_class_head/conv."),
    (r"^semantic_head\.decoder\.", "MaXDeepLab/auxiliary_semantic_decoder/"),
    (r"^semantic_head\.head", "MaXDeepLab/auxiliary_semantic_head"),
    # the auxiliary decoder
    (r"convolutions\.0\.", "conv_bn_act/"),
    (r"convolutions\.(\d)\.", r"aspp_conv\1/conv_bn_act/"),
    (r"aspp\.pool\.", "aspp/aspp_pool/conv_bn_act/"),
    (r"aspp\.projection\.", "aspp/proj_conv_bn_act/"),
    (r"aspp\.", "aspp/"),
    (r"skips\.0\.", "low_level_conv1/"),
    (r"skips\.1\.", "low_level_conv2/"),
    (r"fusions\.0\.", "fusion_conv1/conv1_bn_act/"),
    (r"fusions\.1\.", "fusion_conv2/conv1_bn_act/"),
    (r"depthwise\.conv\.weight", "depthwise/depthwise_conv/depthwise_kernel"),
    (r"_head\.separable\.", "_head/conv_block/conv1_bn_act/"),
    (r"_head\.last\.", "_head/final_conv."),
    (r"(depth|point)wise\.", r"\1wise/"),
    # stages
    (r"^stages\.", ""),
    (r"^decoder(\d+(?:_extra)?)\.fusion\.", r"decoder_stage\1_resized_fuse/FUSE1."),
    (r"\.projection\.", "/"),
    (r"^decoder(?=\d)", "decoder_stage"),
    (r"^stem\.0\.", "stem/conv1_bn_act/"),
    (r"^stem\.1\.", "stem/conv2_bn_act/"),
    (r"^stem\.2\.", "stem/conv3_bn/"),
    (r"\.blocks\.(\d+)\.", lambda m: f"/block{int(m[1]) + 1}/"),
    (r"\.transformers\.(\d+)\.", lambda m: f"/block{int(m[1]) + 1}_transformer/"),
    (r"branch\.first\.", "conv1_bn_act/"),
    (r"branch\.middle\.", "conv2_bn_act/"),
    (r"branch\.last\.", "LAST/"),
    (r"shortcut\.", "shortcut/"),
    (r"branch\.attention\.(height|width)\.", r"attention/\1_axis/"),
    # axial attention
    (r"qkv\.conv\.weight$", "qkv_kernel"),
    (r"_projection\.qkv_kernel", "_projection.qkv.conv.weight"),
    (r"_axis/qkv\.norm\.", "_axis/batch_norm_qkv/"),
    (r"_axis/similarity_norm\.", "_axis/batch_norm_similarity/"),
    (r"_axis/output_norm\.", "_axis/batch_norm_retrieved_output/"),
    (r"(query|key|value)_encodings$", r"\1_rpe/embeddings"),
    # dual-path layers
    (r"(memory|pixel)_projection\.reduce\.", r"\1_conv1_bn_act/"),
    (r"(memory|pixel)_projection\.qkv\.", r"\1_qkv_conv_bn/"),
    (r"(memory|pixel)_attention\.similarity_norm\.", r"\1_attention/batch_norm_similarity/"),
    (r"(memory|pixel)_attention\.output_norm\.", r"\1_attention/batch_norm_retrieved_value/"),
    (r"(memory|pixel)_out\.", r"\1_conv3_bn/"),
    (r"feed_forward\.0\.", "memory_ffn_conv1_bn_act/"),
    (r"feed_forward\.1\.", "memory_ffn_conv2_bn/"),
    # leaves
    (r"running_mean$", "moving_mean"),
    (r"running_var$", "moving_variance"),
    (r"conv\.weight$", "conv/kernel"),
    (r"conv\.bias$", "conv/bias"),
    (r"(^|/)norm\.", r"\1batch_norm/"),
    (r"(norm\w*/)weight$", r"\1gamma"),
    (r"(norm\w*/)bias$", r"\1beta"),
)
_RENAMES_OF_L = (
    (r"^stem/conv1_bn_act/", "stem/"),
    (r"^stage5_extra/", "decoder_stage4_extra/"),
)


def official_names(ours: Iterable[str], variant: str = "S", prefix: str = "") -> dict[str, str]:
    """Our names of parameters and statistics -> deeplab2's, without ``num_batches_tracked``.

    Args:
        variant: "S" or "L".
        prefix: what deeplab2's names begin with in a whole model.
    """
    names = {}
    basic = {
        re.sub(r"branch\..*", "", name) for name in ours if variant == "L" and ".branch." in name
    } - {re.sub(r"branch\..*", "", name) for name in ours if ".branch.attention." in name}
    for name in ours:
        if name.endswith("num_batches_tracked"):
            continue
        new = name
        for pattern, replacement in _RENAMES + (_RENAMES_OF_L if variant == "L" else ()):
            new = re.sub(pattern, replacement, new)
        is_basic = ".branch." in name and re.sub(r"branch\..*", "", name) in basic
        new = new.replace("LAST", "conv2_bn" if is_basic else "conv3_bn")
        towards_coarse = re.match(r"decoder_stage(3|4|7|8)\D", new)
        new = new.replace("FUSE", "strided_conv_bn" if towards_coarse else "resized_conv_bn")
        root = "" if new.startswith("MaXDeepLab/") else f"max_deeplab_{variant.lower()}/"
        names[name] = prefix + root + new
    return names


def from_official(array: np.ndarray, name: str, like: Tensor) -> Tensor:
    """A variable of deeplab2 in the layout of our tensor ``like``, with zeros for what it lacks.

    Args:
        name: deeplab2's.
    """
    leaf, tensor = name.rpartition("/")[2], torch.from_numpy(array)
    if leaf == "kernel":
        tensor = tensor.movedim((-1, -2), (0, 1))
    elif leaf == "depthwise_kernel":
        tensor = tensor.permute(2, 3, 0, 1)
    elif leaf == "qkv_kernel":
        tensor = tensor.T
    elif leaf == "memory_feature":
        tensor = tensor[0, : like.shape[1]].T
    tensor = tensor.flatten()
    return F.pad(tensor, (0, like.numel() - len(tensor))).view_as(like)
