"""Backbones; importing registers them."""

from .fused_norms import fuse_batch_norms
from .timm_backbone import TimmBackbone

__all__ = ["TimmBackbone", "fuse_batch_norms"]
