"""Layers shared by all architectures: plain torch, no config."""

from .attention import MultiheadAttention
from .boxes import box_cxcywh_to_xyxy, box_xyxy_to_cxcywh, generalized_box_iou
from .checkpointing import keeping_terms_of, run_layer
from .convolution import conv2d, conv2d_gradients
from .deformable_attention import MultiScaleDeformableAttention
from .dropout import Dropout
from .feed_forward import MLP, FeedForward
from .linear_layer import Linear
from .numerics import inverse_sigmoid, prior_bias
from .position_encoding import SinePositionEncoding

__all__ = [
    "MLP",
    "Dropout",
    "FeedForward",
    "Linear",
    "MultiScaleDeformableAttention",
    "MultiheadAttention",
    "SinePositionEncoding",
    "box_cxcywh_to_xyxy",
    "box_xyxy_to_cxcywh",
    "conv2d",
    "conv2d_gradients",
    "generalized_box_iou",
    "inverse_sigmoid",
    "keeping_terms_of",
    "prior_bias",
    "run_layer",
]
