"""From backbone features to encoded levels."""

from .deformable_encoder import DeformablePixelDecoder
from .features import PixelFeatures
from .fpn import FPN
from .mask2former_pixel_decoder import Mask2FormerPixelDecoder
from .maskformer_pixel_decoder import MaskFormerPixelDecoder

__all__ = [
    "FPN",
    "DeformablePixelDecoder",
    "Mask2FormerPixelDecoder",
    "MaskFormerPixelDecoder",
    "PixelFeatures",
]
