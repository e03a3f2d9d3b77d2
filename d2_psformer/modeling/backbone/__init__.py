"""Backbones; importing registers them."""

from .timm_backbone import TimmBackbone

__all__ = ["TimmBackbone"]
