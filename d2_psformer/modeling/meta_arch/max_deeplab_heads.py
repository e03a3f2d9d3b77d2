"""The heads of MaX-DeepLab: masks, classes, and the class of every pixel."""

import math
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...d2.layers import ShapeSpec
from ...layers import ConvNorm, batch_norm, separable, truncated_normal_
from ..pixel_decoder import ASPPDecoder
from ..transformer_decoder.mask_heads import multiply


def pixel_head(in_channels: int, channels: int, out_channels: int) -> nn.Sequential:
    """A separable convolution, then one of 1 x 1 with a bias."""
    last = nn.Conv2d(channels, out_channels, 1)
    truncated_normal_(last.weight, 0.01)
    nn.init.zeros_(last.bias)
    return nn.Sequential(OrderedDict(separable=separable(in_channels, channels), last=last))


class MaskHead(nn.Module):
    """Masks from the product of the embeddings of queries and pixels.

    Args:
        pixels, memory: channels of the map and of the sequence.
        channels: inside of the head of the pixels.
        dim: of the embeddings.
    """

    def __init__(self, pixels: int, memory: int, channels: int, dim: int):
        super().__init__()
        self.pixel_head = pixel_head(pixels, channels, dim)
        self.pixel_norm = batch_norm(dim)
        self.memory_head = ConvNorm(memory, dim)
        self.mask_norm = batch_norm(1, scale=0.1)

    def forward(self, pixels: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """pixels (B, C, h, w), memory (B, N, M) -> masks (B, N, h, w) before the softmax over N,
        and embeddings of the pixels (B, dim, h, w), of length 1."""
        pixels = F.normalize(self.pixel_norm(self.pixel_head(pixels)), dim=1, eps=1e-6)
        embeddings = self.memory_head(memory.mT[..., None])[..., 0].mT
        masks = multiply(embeddings, pixels)
        return self.mask_norm(masks.flatten(1, 2)[:, None])[:, 0].view_as(masks), pixels


class ClassHead(nn.Linear):
    """Class logits, the last one of void, to which the logit of a share of 90 % is added."""

    def __init__(self, in_channels: int, num_classes: int):
        """
        Args:
            num_classes: with void.
        """
        super().__init__(in_channels, num_classes)
        truncated_normal_(self.weight, 0.01)
        nn.init.zeros_(self.bias)
        self.void_logit = math.log(9 * (num_classes - 1))

    def forward(self, memory: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, num_classes)."""
        logits = super().forward(memory)
        return torch.cat([logits[..., :-1], logits[..., -1:] + self.void_logit], dim=-1)


class SemanticHead(nn.Module):
    """The class of every pixel; a decoder brings coarse features to stride 4.

    Args:
        features: of the backbone.
        channels: inside of the decoder and the head.
        dropout: inside of the decoder.
    """

    def __init__(
        self,
        features: dict[str, ShapeSpec],
        channels: int,
        num_classes: int,
        dropout: float = 0.1,
    ):
        super().__init__()
        self.decoder, source = None, features["semantic"]
        if source.stride > 4:
            skips = [(features["res3"].channels, channels // 4)]
            skips += [(features["res2"].channels, channels // 8)]
            self.decoder = ASPPDecoder(source.channels, channels, skips, dropout)
        self.head = pixel_head(channels if self.decoder else source.channels, channels, num_classes)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Maps of the backbone -> (B, num_classes, h, w) at stride 4."""
        x = features["semantic"]
        if self.decoder is not None:
            x = self.decoder(x, [features["res3"], features["res2"]])
        return self.head(x)
