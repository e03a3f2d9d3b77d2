"""Weights from elsewhere: released checkpoints and pretrained backbones."""

from .official import convert_official
from .pretrained import load_pretrained_backbone

__all__ = ["convert_official", "load_pretrained_backbone"]
