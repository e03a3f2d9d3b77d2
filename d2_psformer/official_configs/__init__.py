"""Configs of the official MaskFormer and Mask2Former repositories, read as they are."""

from .translation import Translation, translate_official

__all__ = ["Translation", "translate_official"]
