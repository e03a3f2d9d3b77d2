"""Residual blocks of MaX-DeepLab's encoder, and what can stand in their branch.

Blocks exchange maps without activation: a block starts with a ReLU, which its shortcut gets too.
"""

from collections import OrderedDict

from timm.layers import DropPath
from torch import Tensor, nn

from ...layers import ConvNorm, axial_attention


class ResidualBlock(nn.Module):
    """ReLU -> branch + shortcut; the shortcut has a convolution where the channels change."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        branch: nn.Sequential,
        stride: int = 1,
        drop_path: float = 0.0,
    ):
        super().__init__()
        self.branch = branch
        same = in_channels == out_channels and stride == 1
        self.shortcut = (
            nn.Identity() if same else ConvNorm(in_channels, out_channels, stride=stride)
        )
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride))."""
        x = x.relu()
        return self.drop_path(self.branch(x)) + self.shortcut(x)


def basic(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """Two convolutions (L)."""
    return nn.Sequential(
        OrderedDict(
            first=ConvNorm(in_channels, out_channels, 3, stride=stride, relu=True),
            last=ConvNorm(out_channels, out_channels, 3, scale=0.0),
        )
    )


def bottleneck(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """A convolution between a reduction to a quarter of the channels and an expansion (S)."""
    width = out_channels // 4
    return nn.Sequential(
        OrderedDict(
            first=ConvNorm(in_channels, width, relu=True),
            middle=ConvNorm(width, width, 3, stride=stride, relu=True),
            last=ConvNorm(width, out_channels, scale=0.0),
        )
    )


def axial(in_channels: int, width: int, out_channels: int, heads: int) -> nn.Sequential:
    """Axial attention with ``width`` channels of values and half as many of keys."""
    return nn.Sequential(
        OrderedDict(
            first=ConvNorm(in_channels, width, relu=True),
            attention=axial_attention(width, width // 2, width, heads),
            relu=nn.ReLU(),
            last=ConvNorm(width, out_channels, scale=0.0),
        )
    )
