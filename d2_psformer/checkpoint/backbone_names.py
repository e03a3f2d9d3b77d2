"""Parameter names of backbones elsewhere -> those of :class:`TimmBackbone`."""

import re
from collections.abc import Container

# timm's feature extractors flatten the first two levels: stages.0.x -> stages_0.x
_FLATTENED = re.compile(r"^(stages|layers|stem|blocks)\.(\d+)\.")

# Not features: classifiers, and tables that are computed.
_LEFT_OUT = re.compile(r"^(fc|head|classifier|norm)\.|relative_position_index$|attn_mask$")


def body_name(key: str, names: Container[str], prefix: str = "") -> str | None:
    """Name inside :class:`TimmBackbone` of a parameter of timm, torchvision, PVTv2 or Swin.

    Args:
        key: the name, without ``prefix``.
        names: all names of the file, by which the family is told.
        prefix: what stands before each name there.

    Returns:
        None for what is no part of a feature extractor.
    """
    if _LEFT_OUT.search(key):
        return None
    if f"{prefix}patch_embed1.proj.weight" in names:
        key = _from_pvt(key)
    elif f"{prefix}layers.0.downsample.reduction.weight" in names:
        norm = re.fullmatch(r"norm(\d)\.(weight|bias)", key)
        if norm:
            return f"output_norms.{int(norm[1]) - 1}.{norm[2]}"
        # the official Swin ends a stage with the patch merging that timm's begins the next with
        key = re.sub(
            r"^layers\.(\d)\.downsample", lambda m: f"layers.{int(m[1]) + 1}.downsample", key
        )
    return "body." + _FLATTENED.sub(r"\1_\2.", key)


def _from_pvt(key: str) -> str:
    """PVTv2 counts its stages from 1, and starts each with a patch embedding of its own."""
    key = re.sub(r"^patch_embed1\.", "patch_embed.", key)
    for pattern, name in (
        (r"^patch_embed(\d)\.", "downsample"),
        (r"^block(\d)\.", "blocks"),
        (r"^norm(\d)\.", "norm"),
    ):
        key = re.sub(pattern, lambda m, name=name: f"stages.{int(m[1]) - 1}.{name}.", key)
    return key.replace(".dwconv.dwconv.", ".dwconv.")
