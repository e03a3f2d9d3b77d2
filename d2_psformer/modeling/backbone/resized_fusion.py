"""Maps of other sizes for MaX-DeepLab's decoder."""

from torch import Tensor, nn

from ...layers import ConvNorm, resize


class ResizedProjection(nn.Module):
    """ReLU -> convolution, of stride 2 towards half the size -> resize to any other size."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1):
        super().__init__()
        self.projection = ConvNorm(in_channels, out_channels, stride=stride)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, *size)."""
        return resize(self.projection(x.relu()), size)
