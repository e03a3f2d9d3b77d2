"""What every backbone has."""

from abc import ABCMeta, abstractmethod
from typing import Any

from torch import nn

from ...layers import ShapeSpec


class Backbone(nn.Module, metaclass=ABCMeta):
    """Images to a dict of feature maps, such as ``{"res3": (N,C,H/8,W/8), ...}``.

    A subclass either overrides :meth:`output_shape` or sets ``_out_features``,
    ``_out_feature_channels`` and ``_out_feature_strides``.
    """

    @abstractmethod
    def forward(self, *args: Any) -> Any:
        """A dict from feature name to tensor."""

    @property
    def size_divisibility(self) -> int:
        """Height and width of the input must be multiples of this; 0 for any size."""
        return 0

    @property
    def padding_constraints(self) -> dict[str, int]:
        """Optional ``size_divisibility`` and ``square_size`` for ``ImageList.from_tensors``."""
        return {}

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride of every feature map."""
        return {
            name: ShapeSpec(
                channels=self._out_feature_channels[name], stride=self._out_feature_strides[name]
            )
            for name in self._out_features
        }
