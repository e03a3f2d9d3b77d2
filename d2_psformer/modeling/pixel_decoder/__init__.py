"""Backbone features -> memory: input projection and deformable encoder."""

from .deformable_encoder import DeformablePixelDecoder
from .memory import Memory

__all__ = ["DeformablePixelDecoder", "Memory"]
