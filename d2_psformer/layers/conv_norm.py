"""Convolutions, batch norms and resizing as in deeplab2, MaX-DeepLab's official code."""

import math
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def batch_norm(channels: int, scale: float = 1.0) -> nn.BatchNorm2d:
    """A batch norm with the constants of deeplab2, which starts from the factor ``scale``."""
    norm = nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)
    nn.init.constant_(norm.weight, scale)
    return norm


class ConvNorm(nn.Sequential):
    """Convolution without bias -> batch norm -> ReLU, if asked for; size n -> ceil(n / stride).

    Args:
        relu: end in a ReLU.
        scale: first factor of the norm; 0 at the end of a residual branch.
        conv: other arguments of ``nn.Conv2d``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        *,
        relu: bool = False,
        scale: float = 1.0,
        dilation: int = 1,
        **conv,
    ):
        padding = dilation * (kernel_size - 1) // 2
        layer = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            padding=padding,
            dilation=dilation,
            bias=False,
            **conv,
        )
        he_normal_(layer.weight)
        # faster in this layout on a CPU, and tensor cores want it too
        layer.to(memory_format=torch.channels_last)
        parts = OrderedDict(conv=layer, norm=batch_norm(out_channels, scale))
        super().__init__(parts | OrderedDict(relu=nn.ReLU()) if relu else parts)


def separable(in_channels: int, out_channels: int) -> nn.Sequential:
    """Depthwise 5 x 5 and pointwise convolution, each with batch norm and ReLU."""
    depthwise = ConvNorm(in_channels, in_channels, 5, groups=in_channels, relu=True)
    # Keras counts all channels of a depthwise kernel as its inputs and one as its output
    bound = math.sqrt(6 / (25 * (in_channels + 1)))
    nn.init.uniform_(depthwise.conv.weight, -bound, bound)
    pointwise = ConvNorm(in_channels, out_channels, relu=True)
    return nn.Sequential(OrderedDict(depthwise=depthwise, pointwise=pointwise))


def truncated_normal_(weight: Tensor, std: float) -> Tensor:
    """Fill with a normal distribution that is cut off at two ``std``, as Keras does."""
    return nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


def he_normal_(weight: Tensor) -> None:
    """Keras's ``he_normal``: a standard deviation of sqrt(2 / inputs) after the cut."""
    truncated_normal_(weight, math.sqrt(2 / weight[0].numel()) / 0.87962566)


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, with the centres of the corner cells on each other."""
    if x.shape[2:] == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)
