"""Layers shared by all architectures: plain torch, no config."""

from .attention import Attention
from .boxes import box_cxcywh_to_xyxy, box_xyxy_to_cxcywh, generalized_box_iou
from .checkpointing import run_layer
from .deformable_attention import MultiScaleDeformableAttention
from .feed_forward import MLP, FeedForward
from .numerics import inverse_sigmoid, prior_bias
from .position_encoding import SinePositionEncoding

__all__ = [
    "MLP",
    "Attention",
    "FeedForward",
    "MultiScaleDeformableAttention",
    "SinePositionEncoding",
    "box_cxcywh_to_xyxy",
    "box_xyxy_to_cxcywh",
    "generalized_box_iou",
    "inverse_sigmoid",
    "prior_bias",
    "run_layer",
]
