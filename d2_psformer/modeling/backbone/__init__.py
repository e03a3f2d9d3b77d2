"""Backbones; importing registers them."""

from .folded_norms import norms_apart
from .timm_backbone import TimmBackbone

__all__ = ["TimmBackbone", "norms_apart"]
