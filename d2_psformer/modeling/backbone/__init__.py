"""Backbones; importing registers them."""

from .build import build_checked_backbone
from .fused_norms import fuse_batch_norms
from .timm_backbone import TimmBackbone

__all__ = ["TimmBackbone", "build_checked_backbone", "fuse_batch_norms"]
