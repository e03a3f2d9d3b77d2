"""DeepLabv3+'s decoder (Chen et al., ECCV 2018) with separable convolutions of 5 x 5."""

import torch
from torch import Tensor, nn

from ...layers import ConvNorm, resize, separable


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: convolutions of several reaches and the mean of the map."""

    def __init__(self, in_channels: int, channels: int, dropout: float):
        super().__init__()
        rates = 6, 12, 18
        self.convolutions = nn.ModuleList(
            [ConvNorm(in_channels, channels, relu=True)]
            + [ConvNorm(in_channels, channels, 3, dilation=rate, relu=True) for rate in rates]
        )
        self.pool = ConvNorm(in_channels, channels, relu=True)
        self.projection = ConvNorm((len(rates) + 2) * channels, channels, relu=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, channels, h, w)."""
        # the mean is given twice, as a batch norm in training refuses a single value
        mean = self.pool(x.mean((2, 3), keepdim=True).expand(-1, -1, 1, 2))[..., :1]
        branches = [conv(x) for conv in self.convolutions] + [mean.expand(-1, -1, *x.shape[2:])]
        return self.dropout(self.projection(torch.cat(branches, dim=1)))


class ASPPDecoder(nn.Module):
    """ASPP of the coarsest map, then fusion with one finer map after another."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        skips: list[tuple[int, int]],
        dropout: float = 0.1,
    ):
        """
        Args:
            channels: of the result and of all that is between.
            skips: of each finer map the channels and those that it is reduced to.
            dropout: after ASPP.
        """
        super().__init__()
        self.aspp = ASPP(in_channels, channels, dropout)
        self.skips = nn.ModuleList(ConvNorm(*sizes, relu=True) for sizes in skips)
        self.fusions = nn.ModuleList(separable(channels + size, channels) for _, size in skips)

    def forward(self, x: Tensor, finer: list[Tensor]) -> Tensor:
        """(B, C, h, w) and maps of the ``skips`` -> (B, channels, H, W) of the last one's size."""
        x = self.aspp(x)
        for skip, fusion, y in zip(self.skips, self.fusions, finer, strict=True):
            x = fusion(torch.cat([resize(x, y.shape[2:]), skip(y)], dim=1))
        return x
