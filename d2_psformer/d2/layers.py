"""The shape record of feature maps."""

from typing import TYPE_CHECKING

from . import from_backend

if TYPE_CHECKING:
    from ..d2lite.layers import ShapeSpec
else:
    __getattr__ = from_backend("layers")
