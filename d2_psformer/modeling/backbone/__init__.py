"""Backbones; importing registers them."""

from .build import build_checked_backbone
from .timm_backbone import TimmBackbone

__all__ = ["TimmBackbone", "build_checked_backbone"]
