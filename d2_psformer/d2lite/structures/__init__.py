"""What a model takes and gives: boxes, masks, instances and padded image batches."""

from .boxes import Boxes, BoxMode
from .image_list import ImageList
from .instances import Instances
from .masks import BitMasks, polygons_to_bitmask

__all__ = ["BitMasks", "BoxMode", "Boxes", "ImageList", "Instances", "polygons_to_bitmask"]
