"""From masks and scores to panoptic, semantic and instance results."""

from .mask_wise import MaskWiseMerging
from .pixel_wise import MaskFormerMerging, PixelArgmaxMerging
from .placement import Placement
from .resized_masks import ResizedMasks
from .results import Postprocessor

__all__ = [
    "MaskFormerMerging",
    "MaskWiseMerging",
    "PixelArgmaxMerging",
    "Placement",
    "Postprocessor",
    "ResizedMasks",
]
