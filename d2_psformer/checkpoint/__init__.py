"""Weights from elsewhere: any checkpoint file, released checkpoints, pretrained backbones."""

from .files import read_checkpoint
from .finite import check_finite
from .official import convert_official
from .pretrained import load_pretrained_backbone

__all__ = ["check_finite", "convert_official", "load_pretrained_backbone", "read_checkpoint"]
