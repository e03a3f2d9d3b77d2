"""From backbone features to what the queries read and the mask features."""

from .aspp_decoder import ASPPDecoder
from .deformable_pixel_decoder import DeformablePixelDecoder
from .features import PixelFeatures
from .fpn import FPN
from .mask2former_pixel_decoder import Mask2FormerPixelDecoder
from .maskformer_pixel_decoder import MaskFormerPixelDecoder
from .upscaling import UpscaleBlock

__all__ = [
    "FPN",
    "ASPPDecoder",
    "DeformablePixelDecoder",
    "Mask2FormerPixelDecoder",
    "MaskFormerPixelDecoder",
    "PixelFeatures",
    "UpscaleBlock",
]
