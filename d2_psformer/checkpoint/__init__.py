"""Weights from elsewhere: any checkpoint file, released checkpoints, pretrained backbones."""

from .eomt import add_base
from .files import read_checkpoint
from .finite import check_finite, check_kinds
from .official import convert_official
from .pretrained import load_pretrained_backbone
from .relatives import convert_mask2former, convert_maskformer
from .slim import read_slim, write_slim
from .sources import CONVERTERS, convert, source_of

__all__ = [
    "CONVERTERS",
    "add_base",
    "check_finite",
    "check_kinds",
    "convert",
    "convert_mask2former",
    "convert_maskformer",
    "convert_official",
    "load_pretrained_backbone",
    "read_checkpoint",
    "read_slim",
    "source_of",
    "write_slim",
]
