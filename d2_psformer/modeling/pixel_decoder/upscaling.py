"""Upscaling of the tokens of a plain vision transformer (EoMT, section 3.2)."""

import torch.nn.functional as F
from timm.layers import LayerNorm2d
from torch import Tensor, nn


class UpscaleBlock(nn.Module):
    """Twice the resolution: a transposed convolution, GELU, a depthwise convolution, a norm."""

    def __init__(self, dim: int):
        super().__init__()
        self.up = nn.ConvTranspose2d(dim, dim, kernel_size=2, stride=2)
        self.depthwise = nn.Conv2d(dim, dim, kernel_size=3, padding=1, groups=dim, bias=False)
        self.norm = LayerNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, dim, H, W) -> (B, dim, 2 H, 2 W)."""
        return self.norm(self.depthwise(F.gelu(self.up(x))))
