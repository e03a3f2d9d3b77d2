"""Backbones; importing registers them."""

from .build import build_checked_backbone
from .fused_norms import fuse_batch_norms
from .max_deeplab_backbone import MaXDeepLabBackbone
from .plain_vit import PlainViT
from .timm_backbone import TimmBackbone

__all__ = [
    "MaXDeepLabBackbone",
    "PlainViT",
    "TimmBackbone",
    "build_checked_backbone",
    "fuse_batch_norms",
]
