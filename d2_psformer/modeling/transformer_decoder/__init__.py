"""Queries that read the pixel features."""

from .location_decoder import LocationDecoder
from .mask_decoder import MaskDecoder
from .stuff_decoder import StuffDecoder

__all__ = ["LocationDecoder", "MaskDecoder", "StuffDecoder"]
