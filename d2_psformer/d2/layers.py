"""Small layers and the shape record of feature maps."""

from . import BACKEND

if BACKEND == "detectron2":
    from detectron2.layers import FrozenBatchNorm2d, ShapeSpec
else:
    from ..d2lite.layers import FrozenBatchNorm2d, ShapeSpec

__all__ = [
    "FrozenBatchNorm2d",
    "ShapeSpec",
]
