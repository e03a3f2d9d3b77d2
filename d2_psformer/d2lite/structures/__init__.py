"""What a model takes and gives: boxes, masks and instances."""

from .boxes import Boxes, BoxMode
from .instances import Instances
from .masks import BitMasks, polygons_to_bitmask

__all__ = ["BitMasks", "BoxMode", "Boxes", "Instances", "polygons_to_bitmask"]
