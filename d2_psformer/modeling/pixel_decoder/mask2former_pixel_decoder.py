"""Mask2Former's pixel decoder: a deformable encoder, and steps up to the mask features."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from ...d2.config import configurable
from ...d2.layers import ShapeSpec
from ...utils.checks import check_at_least
from .convolutions import conv2d
from .deformable_pixel_decoder import DeformablePixelDecoder
from .features import PixelFeatures
from .fpn import TopDownStep


class Mask2FormerPixelDecoder(nn.Module):
    """The encoder reads the coarsest features; one step up for each finer one makes mask features.

    Padding is not masked, as in the official code. In training everything is computed in float32,
    under autocast too.
    """

    @configurable
    def __init__(
        self, *, in_channels: dict[str, int], dim: int, mask_dim: int, num_levels: int, **encoder
    ):
        """
        Args:
            in_channels: channels of the backbone features to read, fine to coarse.
            mask_dim: channels of the mask features, which have the stride of the finest feature.
            num_levels: levels that the encoder reads, the coarsest ones; levels beyond the features
                are made from the last.
            encoder: further arguments of :class:`DeformablePixelDecoder`.

        Raises:
            UserError: an argument is out of its range.
        """
        super().__init__()
        check_at_least(1, mask_dim=mask_dim, num_levels=num_levels)
        self.in_features = list(in_channels)
        self.encoder = DeformablePixelDecoder(
            in_channels=dict(list(in_channels.items())[-num_levels:]),
            dim=dim,
            num_levels=num_levels,
            projection_bias=True,
            position_offset=0.0,
            **encoder,
        )
        self.steps = nn.ModuleList(
            TopDownStep(channels, dim, mode="bilinear")
            for channels in list(in_channels.values())[:-num_levels]
        )
        self.mask_features = conv2d(dim, mask_dim, kernel_size=1, xavier=False)

    @classmethod
    def from_config(cls, cfg, input_shape: dict[str, ShapeSpec]) -> dict:
        encoder = DeformablePixelDecoder.from_config(cfg, input_shape)
        return {**encoder, "mask_dim": cfg.MODEL.PIXEL_DECODER.MASK_DIM}

    def forward(self, features: dict[str, Tensor]) -> PixelFeatures:
        """features: maps (B, C_l, H_l, W_l) by name."""
        maps = {f: features[f] for f in self.in_features}
        if not self.training:
            return self._forward(maps)
        with torch.autocast(maps[self.in_features[0]].device.type, enabled=False):
            return self._forward({f: x.float() for f, x in maps.items()})

    def _forward(self, features: dict[str, Tensor]) -> PixelFeatures:
        encoded = self.encoder(features, None)
        tokens, (shape,) = encoded.finest(1)
        finest = tokens.transpose(1, 2).unflatten(2, shape)
        for number in reversed(range(len(self.steps))):
            finest = self.steps[number](features[self.in_features[number]], finest)
        return replace(encoded, mask_features=self.mask_features(finest))
