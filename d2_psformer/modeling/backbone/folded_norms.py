"""Fixed batch norms as a part of the convolutions before them.

A norm whose statistics and affine numbers stand still only scales and shifts channels: s (W x) + t
is (s W) x + t. Computed so, no map is read and written for the norm, and none is kept for its
backward pass.
"""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from timm.models import FeatureListNet
from timm.models.resnet import BasicBlock, Bottleneck
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ...layers import conv2d, conv2d_gradients


def fold_fixed_norms(body: nn.Module) -> None:
    """Let the convolutions of a timm model take in the norms that follow them, in place.

    Parameters, their names and their gradients stay as they were. Only ResNets and plain sequences
    are looked at: elsewhere the order of the modules does not tell what follows what.
    """
    for parent in body.modules():
        if not isinstance(parent, (FeatureListNet, nn.Sequential, BasicBlock, Bottleneck)):
            continue
        for (_, first), (name, second) in itertools.pairwise(parent.named_children()):
            pads_zeros = type(first) is nn.Conv2d and first.padding_mode == "zeros"
            if pads_zeros and type(second) is nn.BatchNorm2d and second.affine:
                first.__class__, second.__class__ = FoldingConv2d, FoldedBatchNorm2d
                first.place_of_norm = (parent, name)  # a module in a tuple is no child


@contextmanager
def norms_apart(model: nn.Module) -> Iterator[None]:
    """Inside, norms are layers of their own, as papers and other tools count them."""
    norms = [m for m in model.modules() if isinstance(m, FoldedBatchNorm2d)]
    for norm in norms:
        norm.__class__ = nn.BatchNorm2d
    try:
        yield
    finally:
        for norm in norms:
            norm.__class__ = FoldedBatchNorm2d


class FoldedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm that leaves its work to the convolution before it while it is fixed."""

    @property
    def is_fixed(self) -> bool:
        learns = torch.is_grad_enabled() and self.weight.requires_grad
        return not self.training and not learns

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """s and t, (C,) each."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        return scale, self.bias - self.running_mean * scale

    def forward(self, x: Tensor) -> Tensor:
        return x if self.is_fixed else super().forward(x)


class FoldingConv2d(nn.Conv2d):
    """Convolution that applies the norm behind it, too, while that is fixed."""

    place_of_norm: tuple[nn.Module, str]  # its parent, and its name there: it may be replaced

    def forward(self, x: Tensor) -> Tensor:
        options = (self.stride, self.padding, self.dilation, self.groups)
        norm = getattr(*self.place_of_norm)
        if not isinstance(norm, FoldedBatchNorm2d) or not norm.is_fixed:
            return conv2d(x, self.weight, self.bias, *options)
        scale, shift = norm.scale_and_shift()
        if self.bias is not None:
            shift = shift + self.bias * scale
        if self._keeps_no_weight(x):
            return _ScaledConv2d.apply(x, self.weight, scale, shift, *options)
        return _scaled_convolution(x, self.weight, scale, shift, *options)

    def _keeps_no_weight(self, x: Tensor) -> bool:
        """Whether s W is to be computed again for the backward pass in place of being kept."""
        return (
            torch.is_grad_enabled()
            and self.weight.requires_grad
            and (self.bias is None or not self.bias.requires_grad)
            and not isinstance(self.padding, str)
            and not torch.is_autocast_enabled(x.device.type)
            and not torch.compiler.is_compiling()
        )


class _ScaledConv2d(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, scale: Tensor, shift: Tensor, *options) -> Tensor:
        ctx.save_for_backward(x, weight, scale)
        ctx.options = options
        return _scaled_convolution(x, weight, scale, shift, *options)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, scale = ctx.saved_tensors
        scales_map = gradient[:, 0].numel() < weight[0].numel()  # the smaller of both
        if scales_map:
            gradient = gradient * scale.view(-1, 1, 1)
        else:
            weight = weight * scale.view(-1, 1, 1, 1)
        wanted = ctx.needs_input_grad[:2]
        of_x, of_weight = conv2d_gradients(gradient, x, weight, *ctx.options, wanted)
        if of_weight is not None and not scales_map:
            of_weight = of_weight * scale.view(-1, 1, 1, 1)
        return of_x, of_weight, *(None,) * 6


def _scaled_convolution(
    x: Tensor, weight: Tensor, scale: Tensor, shift: Tensor, stride: tuple[int, int], *options
) -> Tensor:
    """(s W) x + t; or s (W x) + t where the map is smaller than the weight."""
    cells = len(x) * (x.shape[-2] // stride[0]) * (x.shape[-1] // stride[1])
    if cells < weight[0].numel() and not torch.is_autocast_enabled(x.device.type):
        result = conv2d(x, weight, None, stride, *options)
        return torch.addcmul(shift.view(-1, 1, 1), result, scale.view(-1, 1, 1))
    return conv2d(x, weight * scale.view(-1, 1, 1, 1), shift, stride, *options)
