"""From masks and scores to panoptic, semantic and instance results."""

from .build import build_postprocessor
from .mask_wise import MaskWiseMerging
from .max_deeplab import MaXDeepLabMerging, MaXDeepLabPostprocessor
from .pixel_wise import MaskFormerMerging, PixelArgmaxMerging
from .placement import Placement
from .resized_masks import ResizedMasks
from .results import Postprocessor

__all__ = [
    "MaXDeepLabMerging",
    "MaXDeepLabPostprocessor",
    "MaskFormerMerging",
    "MaskWiseMerging",
    "PixelArgmaxMerging",
    "Placement",
    "Postprocessor",
    "ResizedMasks",
    "build_postprocessor",
]
