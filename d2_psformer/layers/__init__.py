"""Layers shared by all architectures: plain torch, no config."""

from .attention import Attention
from .axial_attention import AxialAttention, axial_attention
from .boxes import box_cxcywh_to_xyxy, box_xyxy_to_cxcywh, generalized_box_iou
from .checkpointing import run_layer
from .conv_norm import ConvNorm, batch_norm, resize, separable, truncated_normal_
from .deformable_attention import MultiScaleDeformableAttention
from .feed_forward import MLP, FeedForward
from .numerics import inverse_sigmoid, prior_bias
from .position_encoding import SinePositionEncoding

__all__ = [
    "MLP",
    "Attention",
    "AxialAttention",
    "ConvNorm",
    "FeedForward",
    "MultiScaleDeformableAttention",
    "SinePositionEncoding",
    "axial_attention",
    "batch_norm",
    "box_cxcywh_to_xyxy",
    "box_xyxy_to_cxcywh",
    "generalized_box_iou",
    "inverse_sigmoid",
    "prior_bias",
    "resize",
    "run_layer",
    "separable",
    "truncated_normal_",
]
