"""Parameter names of backbones elsewhere -> those of :class:`TimmBackbone`.

ResNets of torchvision and timm have the same names. The layouts below are recognised by a
parameter that no other has.
"""

import re
from collections.abc import Container

from .renaming import Renames, plus, substitute

# timm's feature extractors flatten the first two levels: stages.0.x -> stages_0.x
_FLATTENED = re.compile(r"^(stages|layers|stem|blocks)\.(\d+)\.")

# Classifiers are no features, and these tables are computed.
_LEFT_OUT = re.compile(r"^(fc|head|classifier|norm)\.|relative_position_index$|attn_mask$")

# PVTv2 counts its stages from 1, and starts each with a patch embedding of its own.
_PVT: Renames = [
    (r"^patch_embed1\.", "patch_embed."),
    (r"^patch_embed(\d)\.", plus("stages.{}.downsample.", -1)),
    (r"^block(\d)\.", plus("stages.{}.blocks.", -1)),
    (r"^norm(\d)\.", plus("stages.{}.norm.", -1)),
    (r"\.dwconv\.dwconv\.", ".dwconv."),
]
# Detectron2's and its projects'.
_DETECTRON2_RESNET: Renames = [
    (r"^stem\.conv1\.norm\.", "bn1."),
    (r"^stem\.conv1\.", "conv1."),
    (r"^res(\d)\.", plus("layer{}.", -1)),
    (r"\.shortcut\.norm\.", ".downsample.1."),
    (r"\.shortcut\.", ".downsample.0."),
    (r"\.conv(\d)\.norm\.", r".bn\1."),
]
# The official Swin ends a stage with the patch merging that timm's begins the next with.
_SWIN: Renames = [
    (r"^layers\.(\d)\.downsample\.", plus("layers.{}.downsample.", 1)),
    # The detectors of its authors have these.
    (r"^norm(\d)\.", r"output_norms.\1."),
]
# It is one flat list: patch embedding, stage, patch merging, stage, ...
_TORCHVISION_SWIN: Renames = [
    (r"^features\.0\.0\.", "patch_embed.proj."),
    (r"^features\.0\.2\.", "patch_embed.norm."),
    (r"^features\.([1357])\.(?=\d)", lambda match: f"layers.{int(match[1]) // 2}.blocks."),
    (r"^features\.([246])\.", lambda match: f"layers.{int(match[1]) // 2}.downsample."),
    (r"\.mlp\.0\.", ".mlp.fc1."),
    (r"\.mlp\.3\.", ".mlp.fc2."),
]
_CONVNEXT: Renames = [
    (r"^downsample_layers\.0\.", "stem."),
    (r"^downsample_layers\.(\d)\.", r"stages.\1.downsample."),
    (r"^stages\.(\d)\.(?=\d)", r"stages.\1.blocks."),
    (r"\.dwconv\.", ".conv_dw."),
    (r"\.pwconv(\d)\.", r".mlp.fc\1."),
    # The detectors of its authors have these.
    (r"^norm(\d)\.", r"output_norms.\1."),
]
# This is one flat list as well: stem, stage, downsampling, stage, ...
_TORCHVISION_CONVNEXT: Renames = [
    (r"^features\.0\.", "stem."),
    (r"^features\.([1357])\.(?=\d)", lambda match: f"stages.{int(match[1]) // 2}.blocks."),
    (r"^features\.([246])\.", lambda match: f"stages.{int(match[1]) // 2}.downsample."),
    (r"\.block\.0\.", ".conv_dw."),
    (r"\.block\.2\.", ".norm."),
    (r"\.block\.3\.", ".mlp.fc1."),
    (r"\.block\.5\.", ".mlp.fc2."),
    (r"\.layer_scale$", ".gamma"),
]
_LAYOUTS = {
    "stem.conv1.norm.weight": _DETECTRON2_RESNET,
    "patch_embed1.proj.weight": _PVT,
    "layers.0.downsample.reduction.weight": _SWIN,
    "features.1.0.attn.relative_position_bias_table": _TORCHVISION_SWIN,
    "downsample_layers.0.0.weight": _CONVNEXT,
    "features.1.0.layer_scale": _TORCHVISION_CONVNEXT,
}


def body_name(key: str, names: Container[str], prefix: str = "", num_levels: int = 3) -> str | None:
    """Name inside :class:`TimmBackbone` of a parameter of any layout below.

    Args:
        key: the name, without ``prefix``.
        names: all names of the file, by which the layout is recognised.
        prefix: stands before each name there.
        num_levels: how many of the last of four stages the backbone has outputs of.

    Returns:
        The name, or None for what is no part of a feature extractor.
    """
    if _LEFT_OUT.search(key):
        return None
    for sign, renames in _LAYOUTS.items():
        if prefix + sign in names:
            key = substitute(key, renames)
    if key.startswith("output_norms."):
        return re.sub(r"(\d)", plus("{}", num_levels - 4), key)
    return "body." + _FLATTENED.sub(r"\1_\2.", key)
