"""Sine position encoding (Attention is all you need, in two dimensions as in DETR)."""

import math

import torch
from torch import Tensor, nn


class SinePositionEncoding(nn.Module):
    """Sine and cosine of the position inside the valid area, y before x.

    Args:
        dim: channels, half for y and half for x; a multiple of 4.
        temperature: base of the wavelengths.
        offset: shift in cells; -0.5 encodes cell centres.

    Raises:
        ValueError: ``dim`` is not a multiple of 4.
    """

    def __init__(self, dim: int, temperature: float = 10000.0, offset: float = -0.5):
        super().__init__()
        if dim % 4:
            raise ValueError(f"dim must be a multiple of 4, got {dim}.")
        self.dim, self.temperature, self.offset = dim, temperature, offset

    def forward(self, padding_mask: Tensor) -> Tensor:
        """padding_mask (B, H, W) bool, True = padding -> (B, dim, H, W) float32."""
        valid = (~padding_mask).float()
        half = self.dim // 2
        exponent = torch.arange(half // 2, device=valid.device, dtype=torch.float32) * 2 / half
        wavelength = self.temperature**exponent
        encodings = []
        for axis in (1, 2):
            position = valid.cumsum(axis)
            size = position.narrow(axis, -1 + position.shape[axis], 1)
            # eps keeps rows and columns of pure padding finite. Their angles are so large that
            # rounding decides the result: another order of operations would change it.
            position = (position + self.offset) / (size + 1e-6) * (2 * math.pi)
            angle = position.unsqueeze(-1) / wavelength
            encodings.append(torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(-2))
        return torch.cat(encodings, dim=-1).permute(0, 3, 1, 2)

    def tokens(self, shape: tuple[int, int], device: torch.device) -> Tensor:
        """Codes (1, H * W, dim) of a map (H, W) without padding."""
        whole = torch.zeros((1, *shape), dtype=torch.bool, device=device)
        return self(whole).flatten(2).transpose(1, 2)
