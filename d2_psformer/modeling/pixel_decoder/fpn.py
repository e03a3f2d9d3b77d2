"""Feature pyramid network: mask features at the finest stride (MaskFormer, section 4.1)."""

import torch.nn.functional as F
from torch import Tensor, nn

from ...utils.checks import check_at_least, check_channels
from .convolutions import conv2d, conv_norm


class TopDownStep(nn.Module):
    """Adds a finer map to an enlarged coarser one, and smooths the sum.

    Args:
        in_channels: of the finer map.
        mode: interpolation of the coarser one, "nearest" or "bilinear".
    """

    def __init__(self, in_channels: int, dim: int, mode: str = "nearest"):
        super().__init__()
        self.mode = mode
        self.lateral = conv_norm(in_channels, dim, kernel_size=1, xavier=False)
        self.output = smoothing(dim, dim)

    def forward(self, finer: Tensor, coarser: Tensor) -> Tensor:
        """(B, in_channels, H, W) and (B, dim, h, w) -> (B, dim, H, W)."""
        enlarged = F.interpolate(coarser, finer.shape[-2:], mode=self.mode)
        return F.relu(self.output(self.lateral(finer) + enlarged))


class FPN(nn.Module):
    """Top-down pathway over all levels.

    Args:
        in_channels: of the levels, fine to coarse.
        dim: channels of the pathway, a multiple of 8 and at least 16.
        mask_dim: channels of the result.
    """

    def __init__(self, in_channels: list[int], dim: int, mask_dim: int):
        super().__init__()
        check_channels(dim)
        check_at_least(1, mask_dim=mask_dim)
        self.coarsest = smoothing(in_channels[-1], dim)
        self.steps = nn.ModuleList(TopDownStep(c, dim) for c in in_channels[:-1])
        self.mask_features = conv2d(dim, mask_dim, kernel_size=3, padding=1, xavier=False)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """(B, C_l, H_l, W_l), fine to coarse -> (B, mask_dim, H_1, W_1)."""
        x = F.relu(self.coarsest(levels[-1]))
        for step, finer in zip(reversed(self.steps), reversed(levels[:-1]), strict=True):
            x = step(finer, x)
        return self.mask_features(x)


def smoothing(in_channels: int, dim: int) -> nn.Sequential:
    """A 3x3 convolution and a group norm."""
    return conv_norm(in_channels, dim, kernel_size=3, padding=1, xavier=False)
