"""Queries that read the memory: where things are, then what pixels things and stuff own."""

from .location_decoder import LocationDecoder, Locations
from .mask_decoder import MaskDecoder
from .stuff_decoder import StuffDecoder, StuffPredictions

__all__ = ["LocationDecoder", "Locations", "MaskDecoder", "StuffDecoder", "StuffPredictions"]
