"""Backbone features to one width (Deformable DETR, section 4.1)."""

from torch import Tensor, nn

from ...utils.checks import check_channels
from ...utils.errors import UserError
from .convolutions import conv_norm


class InputProjection(nn.Module):
    """1x1 convolution and group norm a backbone level; stride-2 3x3 ones make coarser levels.

    The first extra level reads the raw last backbone feature, further ones read the one before.

    Args:
        in_channels: channels of the backbone features, fine to coarse.
        dim: output channels, a multiple of 8 and at least 16.
        num_levels: output levels, at least ``len(in_channels)``.
        bias: of the convolutions (Mask2Former has one).
    """

    def __init__(self, in_channels: list[int], dim: int, num_levels: int, bias: bool = False):
        super().__init__()
        extra = num_levels - len(in_channels)
        if extra < 0:
            raise UserError(
                f"num_levels is {num_levels}, fewer than the {len(in_channels)} backbone features: "
                f"set it to {len(in_channels)} or more."
            )
        check_channels(dim)
        self.projections = nn.ModuleList(
            conv_norm(c, dim, kernel_size=1, bias=bias) for c in in_channels
        )
        extra_in = [in_channels[-1]] + [dim] * (extra - 1)
        self.extra = nn.ModuleList(
            conv_norm(c, dim, kernel_size=3, stride=2, padding=1, bias=bias)
            for c in extra_in[:extra]
        )

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """list of (B, C_l, H_l, W_l) -> ``num_levels`` maps (B, dim, H_l, W_l)."""
        levels = [proj(x) for proj, x in zip(self.projections, features, strict=True)]
        coarser = features[-1]
        for conv in self.extra:
            coarser = conv(coarser)
            levels.append(coarser)
        return levels
