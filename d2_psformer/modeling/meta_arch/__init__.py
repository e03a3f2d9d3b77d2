"""Architectures; importing registers them."""

from .panoptic_segformer import PanopticSegFormer
from .panoptic_segformer_v1 import PanopticSegFormerV1
from .segmenter import Segmenter

__all__ = ["PanopticSegFormer", "PanopticSegFormerV1", "Segmenter"]
