"""Residual blocks of MaX-DeepLab's encoder, and what can stand in their branch.

Blocks exchange maps without activation: a block starts with a ReLU, which its shortcut gets too.
"""

from collections import OrderedDict
from itertools import pairwise

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
        if in_channels != out_channels:
            self.shortcut = ConvNorm(in_channels, out_channels, stride=stride)
        else:
            self.shortcut = nn.MaxPool2d(1, stride) if stride > 1 else nn.Identity()
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride))."""
        x = x.relu()
        return self.drop_path(self.branch(x)) + self.shortcut(x)


def stem(widths: list[int]) -> nn.Sequential:
    """Convolutions of 3 x 3 to half the size; a ReLU follows all but the last one."""
    last = len(widths) - 1
    return nn.Sequential(
        *(
            ConvNorm(inputs, outputs, 3, stride=1 if i else 2, relu=i < last)
            for i, (inputs, outputs) in enumerate(pairwise([3, *widths]))
        )
    )


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
