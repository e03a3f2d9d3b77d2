"""Boxes, masks, instances and padded image batches."""

from . import BACKEND

if BACKEND == "detectron2":
    from detectron2.structures import BitMasks, Boxes, ImageList, Instances
else:
    from ..d2lite.structures import BitMasks, Boxes, ImageList, Instances

__all__ = [
    "BitMasks",
    "Boxes",
    "ImageList",
    "Instances",
]
