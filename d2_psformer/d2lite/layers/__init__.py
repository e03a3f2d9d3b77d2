"""Small layers and the shape record of feature maps."""

from .batch_norm import FrozenBatchNorm2d
from .shape_spec import ShapeSpec

__all__ = ["FrozenBatchNorm2d", "ShapeSpec"]
