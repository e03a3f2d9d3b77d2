"""Queries that read the memory: where things are, then what pixels things and stuff own."""

from .build import build_decoders
from .classifying_mask_decoder import ClassifyingMaskDecoder
from .learned_queries import LearnedQueries
from .location_decoder import LocationDecoder, Locations
from .mask_decoder import MaskDecoder
from .stuff_decoder import StuffDecoder, StuffPredictions

__all__ = [
    "ClassifyingMaskDecoder",
    "LearnedQueries",
    "LocationDecoder",
    "Locations",
    "MaskDecoder",
    "StuffDecoder",
    "StuffPredictions",
    "build_decoders",
]
