"""Mask2Former's pixel decoder: a deformable encoder and one step up to the mask features."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from ...d2.config import configurable
from ...d2.layers import ShapeSpec
from ...utils.checks import check_at_least
from ...utils.errors import UserError
from .convolutions import conv2d
from .deformable_pixel_decoder import DeformablePixelDecoder
from .features import PixelFeatures
from .fpn import TopDownStep


class Mask2FormerPixelDecoder(nn.Module):
    """The encoder reads all backbone features but the finest, which the mask features come from.

    Padding is not masked, as in the official code. In training everything is computed in float32,
    under autocast too.
    """

    @configurable
    def __init__(self, *, in_channels: dict[str, int], dim: int, mask_dim: int, **encoder):
        """
        Args:
            in_channels: channels of the backbone features to read, fine to coarse, at least two.
            mask_dim: channels of the mask features.
            encoder: further arguments of :class:`DeformablePixelDecoder`.

        Raises:
            UserError: an argument is out of its range.
        """
        super().__init__()
        check_at_least(1, mask_dim=mask_dim)
        if len(in_channels) < 2:
            raise UserError(
                f"IN_FEATURES names {len(in_channels)} feature: name two at least, the finest one "
                "for the mask features and the others for the encoder."
            )
        self.finest, *coarser = in_channels
        self.encoder = DeformablePixelDecoder(
            in_channels={f: in_channels[f] for f in coarser},
            dim=dim,
            projection_bias=True,
            position_offset=0.0,
            **encoder,
        )
        self.step = TopDownStep(in_channels[self.finest], dim, mode="bilinear")
        self.mask_features = conv2d(dim, mask_dim, kernel_size=1, xavier=False)

    @classmethod
    def from_config(cls, cfg, input_shape: dict[str, ShapeSpec]) -> dict:
        encoder = DeformablePixelDecoder.from_config(cfg, input_shape)
        return {**encoder, "mask_dim": cfg.MODEL.PIXEL_DECODER.MASK_DIM}

    @property
    def in_features(self) -> list[str]:
        """Names of the backbone features to read, fine to coarse."""
        return [self.finest, *self.encoder.in_features]

    def forward(self, features: dict[str, Tensor], padding: Tensor | None = None) -> PixelFeatures:
        """
        Args:
            features: maps (B, C_l, H_l, W_l) by name.
            padding: not used.
        """
        maps = {f: features[f] for f in self.in_features}
        if not self.training:
            return self._forward(maps)
        with torch.autocast(maps[self.finest].device.type, enabled=False):
            return self._forward({f: x.float() for f, x in maps.items()})

    def _forward(self, features: dict[str, Tensor]) -> PixelFeatures:
        encoded = self.encoder(features, None)
        tokens, (shape,) = encoded.finest(1)
        finest = self.step(features[self.finest], tokens.transpose(1, 2).unflatten(2, shape))
        return replace(encoded, mask_features=self.mask_features(finest))
