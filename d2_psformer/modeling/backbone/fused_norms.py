"""Batch norms computed as a part of the convolutions before them, for prediction."""

import itertools

from timm.models import FeatureListNet
from timm.models.resnet import BasicBlock, Bottleneck
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .frozen_norms import FrozenBatchNorm

# In these, every child is called on the result of the one registered before it. Elsewhere the
# order of registration does not say which norm follows which convolution.
_IN_ORDER = (nn.Sequential, FeatureListNet, BasicBlock, Bottleneck)
_NORMS = (nn.BatchNorm2d, FrozenBatchNorm)


def fuse_batch_norms(model: nn.Module) -> None:
    """Replace, in place, every convolution and batch norm of a ResNet by one convolution.

    Other models of timm are left as they are, except for such pairs in an ``nn.Sequential``. The
    model must be in evaluation mode and is for prediction only afterwards: its parameters and
    their names are no longer those of a checkpoint.
    """
    for parent in [m for m in model.modules() if isinstance(m, _IN_ORDER)]:
        pairs = itertools.pairwise(list(parent.named_children()))
        for (conv_name, conv), (norm_name, norm) in pairs:
            if type(conv) is nn.Conv2d and type(norm) in _NORMS:
                setattr(parent, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(parent, norm_name, nn.Identity())
