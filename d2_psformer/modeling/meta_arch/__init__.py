"""Architectures; importing registers them."""

from .eomt import EoMT
from .mask2former import Mask2Former
from .maskformer import MaskFormer
from .max_deeplab import MaXDeepLab
from .panoptic_segformer import PanopticSegFormer
from .panoptic_segformer_v1 import PanopticSegFormerV1
from .per_pixel import PerPixelBaseline, PerPixelBaselinePlus
from .segmenter import Segmenter

__all__ = [
    "EoMT",
    "MaXDeepLab",
    "Mask2Former",
    "MaskFormer",
    "PanopticSegFormer",
    "PanopticSegFormerV1",
    "PerPixelBaseline",
    "PerPixelBaselinePlus",
    "Segmenter",
]
