"""Boxes, masks and instances."""

from typing import TYPE_CHECKING

from . import from_backend

if TYPE_CHECKING:
    from ..d2lite.structures import (
        BitMasks,
        Boxes,
        BoxMode,
        Instances,
        polygons_to_bitmask,
    )
else:
    __getattr__ = from_backend("structures")
