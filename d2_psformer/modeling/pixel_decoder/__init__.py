"""From backbone features to encoded levels."""

from .deformable_encoder import DeformablePixelDecoder
from .features import PixelFeatures

__all__ = ["DeformablePixelDecoder", "PixelFeatures"]
