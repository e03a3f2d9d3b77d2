"""Linear layers through the fastest matrix product that a CPU has."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .dropout import drawn_seed, dropout, dropped, kept_scale

_MANY_ROWS = 2048  # fewer are the same for both kernels


class Linear(nn.Linear):
    """``nn.Linear``, computed by :func:`linear`: same parameters, same names, same numbers."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


class LinearReLU(nn.Linear):
    """Linear layer, ReLU and, in training, dropout in one: :func:`linear_relu`."""

    def __init__(self, in_features: int, out_features: int, drop: float = 0.0):
        super().__init__(in_features, out_features)
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:
        return linear_relu(x, self.weight, self.bias, self.drop if self.training else 0.0)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x W^T + b.

    PyTorch takes float32 products to MKL, which on AMD processors is a fifth slower than oneDNN.
    Half precision goes to oneDNN by itself.

    Args:
        x: (..., in).
        weight: (out, in).
        bias: (out,) or None.

    Returns:
        (..., out).
    """
    if _one_dnn_serves(x, weight):
        return _OneDnnLinear.apply(x, weight, bias, False, 0.0)
    return F.linear(x, weight, bias)


def linear_relu(x: Tensor, weight: Tensor, bias: Tensor | None, drop: float = 0.0) -> Tensor:
    """:func:`linear`, then a ReLU, then dropout with probability ``drop``.

    oneDNN applies the ReLU while it writes. For the backward pass the result alone is kept: where
    it is zero, the ReLU or the dropout has stopped the gradient.
    """
    if _one_dnn_serves(x, weight):
        return _OneDnnLinear.apply(x, weight, bias, True, drop)
    return dropout(F.relu(F.linear(x, weight, bias)), drop)


def _one_dnn_serves(x: Tensor, weight: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.numel() > 0
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()  # compilers and exporters know F.linear
        and not torch.jit.is_tracing()
        and torch.backends.mkldnn.enabled
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def _product(x: Tensor, weight: Tensor, bias: Tensor | None, after: str = "none") -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, after, [], "")


class _OneDnnLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx, x: Tensor, weight: Tensor, bias: Tensor | None, relu: bool, drop: float
    ) -> Tensor:
        result = _product(x, weight, bias, "relu" if relu else "none")
        if drop:
            dropped(result, drop, drawn_seed(), in_place=True)
        ctx.save_for_backward(x, weight, result if relu else None)
        ctx.scale = kept_scale(drop)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, activated = ctx.saved_tensors
        if activated is not None:
            gradient = torch.ops.aten.threshold_backward(gradient, activated, 0)
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_x = _product(gradient, _times(weight, ctx.scale).t(), None)
        rows = gradient.flatten(0, -2) if gradient.dim() > 1 else gradient[None]
        if ctx.needs_input_grad[1]:
            of_weight = _times(_weight_gradient(rows, x.reshape(len(rows), -1)), ctx.scale)
        if ctx.needs_input_grad[2]:
            of_bias = _times(rows.sum(0), ctx.scale)
        return of_x, of_weight, of_bias, None, None


def _times(x: Tensor, scale: float) -> Tensor:
    return x if scale == 1 else x * scale


def _weight_gradient(gradient: Tensor, x: Tensor) -> Tensor:
    """(rows, out), (rows, in) -> (out, in), summed over the rows.

    Of many rows it is taken as that of a 1x1 convolution on an image of one line: oneDNN has a
    kernel for these that is up to a tenth faster than a product with a transposed matrix.
    """
    if len(x) < _MANY_ROWS:
        return gradient.t() @ x
    # (1, channels, 1, rows), channels last
    gradient, image = (y.view(1, 1, *y.shape).permute(0, 3, 1, 2) for y in (gradient, x))
    weight = gradient.new_empty(gradient.shape[1], image.shape[1], 1, 1)  # only its shape is read
    once, never = (1, 1), (0, 0)
    options = (once, never, once, False, never, 1, (False, True, False))
    _, of_weight, _ = torch.ops.aten.convolution_backward(gradient, image, weight, None, *options)
    return of_weight.flatten(1)
