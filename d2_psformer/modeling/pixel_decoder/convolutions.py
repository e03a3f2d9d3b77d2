"""Convolutions with the initial weights and norms of the pixel decoders."""

import torch
from torch import nn


def conv2d(in_channels: int, out_channels: int, *, xavier: bool = True, **conv) -> nn.Conv2d:
    """A convolution that starts from Xavier's weights and a bias of 0.

    Args:
        xavier: scale by inputs and outputs; else by inputs alone, as Detectron2's
            ``c2_xavier_fill`` does (the FPNs of MaskFormer and Mask2Former).
    """
    layer = nn.Conv2d(in_channels, out_channels, **conv)
    if xavier:
        nn.init.xavier_uniform_(layer.weight)
    else:
        nn.init.kaiming_uniform_(layer.weight, a=1)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer.to(memory_format=torch.channels_last)  # as the features are


def conv_norm(in_channels: int, out_channels: int, bias: bool = False, **conv) -> nn.Sequential:
    """A convolution and a group norm; arguments as for :func:`conv2d`."""
    # at least two channels a group: one alone has no variance on a map of one cell
    groups = 32 if out_channels % 32 == 0 and out_channels > 32 else 8
    layer = conv2d(in_channels, out_channels, bias=bias, **conv)
    return nn.Sequential(layer, nn.GroupNorm(groups, out_channels))
