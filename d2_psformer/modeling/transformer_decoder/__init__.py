"""Queries that read the pixel features and make masks."""

from .detr_decoder import DetrDecoder
from .location_decoder import LocationDecoder
from .mask_annealing import MaskAnnealing
from .mask_decoder import MaskDecoder
from .masked_attention_decoder import MaskedAttentionDecoder
from .stuff_decoder import StuffDecoder

__all__ = [
    "DetrDecoder",
    "LocationDecoder",
    "MaskAnnealing",
    "MaskDecoder",
    "MaskedAttentionDecoder",
    "StuffDecoder",
]
