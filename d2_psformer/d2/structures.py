"""Boxes, masks, instances and padded image batches."""

from typing import TYPE_CHECKING

from . import from_backend

if TYPE_CHECKING:
    from ..d2lite.structures import (
        BitMasks,
        Boxes,
        BoxMode,
        ImageList,
        Instances,
        polygons_to_bitmask,
    )
else:
    __getattr__ = from_backend("structures")
