"""Backend "pytorch": the operator in plain PyTorch, which all kernels are compared with.

Differentiable, exportable to ONNX, runs on every device. It differs from the compiled kernels in
one point: ``grid_sample`` multiplies what it reads, so that an infinite or NaN pixel makes every
sample NaN that touches it with weight zero; the kernels leave such corners out.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .inputs import Inputs, wide_type

Shapes = Sequence[tuple[int, int]]
OUTSIDE = -2.0  # left of every map, wherever its first pixel lies; 2.0 is right of it


def unavailable() -> None:
    """None: it is always available."""


def supports(inputs: Inputs) -> None:
    """None: all inputs are supported."""


def forward(inputs: Inputs) -> Tensor:
    """Sample every level bilinearly and sum with the attention weights.

    Returns:
        (B, Q, heads * channels) in the type of ``value``. Half types are computed in float32.
    """
    value, shapes, sampling, attention, reference = inputs
    if reference is not None:
        sampling = locations_of(sampling, shapes, reference)
        attention = weights_of(attention)
    dtype, by_head = value.dtype, (value.shape[0], value.shape[2])
    value, sampling, attention = _wide(value, sampling, attention)
    samples = torch.cat(
        [_sample(*pair) for pair in _maps_and_grids(value, shapes, sampling)], dim=-1
    )
    output = (samples * _weights_by_head(attention)).sum(-1)
    output = output.unflatten(0, by_head).permute(0, 3, 1, 2).flatten(2)
    return output.contiguous().to(dtype)


def backward(grad_output: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of value, sampling and attention, for the operator, which does not use autograd.

    Args:
        grad_output: (B, Q, heads * channels).
    """
    value, shapes, sampling, attention, reference = inputs
    if reference is not None:
        locations, weights = locations_of(sampling, shapes, reference), weights_of(attention)
        grad_value, *grads = backward(grad_output, Inputs(value, shapes, locations, weights, None))
        grads = fused_gradients(*grads, shapes, sampling, attention, weights, reference)
        return grad_value, grads[0], grads[1]
    types = [x.dtype for x in (value, sampling, attention)]
    value, sampling, attention, grad_output = _wide(value, sampling, attention, grad_output)
    batch, _, heads, channels = value.shape
    weights = _weights_by_head(attention)
    points = attention.shape[-1]
    # (B * heads, channels, Q, 1)
    grad_output = grad_output.unflatten(2, (heads, channels)).permute(0, 2, 3, 1).flatten(0, 1)
    grad_output = grad_output[..., None]
    grads = []
    for level, (level_map, grid) in enumerate(_maps_and_grids(value, shapes, sampling)):
        grad_weights = (_sample(level_map, grid) * grad_output).sum(1)
        grad_samples = grad_output * weights[..., level * points : (level + 1) * points]
        grad_map, grad_grid = torch.ops.aten.grid_sampler_2d_backward(
            grad_samples.contiguous(), level_map, grid, *_BILINEAR_ZEROS, (True, True)
        )
        grads.append((grad_map.flatten(2), grad_grid * 2, grad_weights))
    grad_maps, grad_grids, grad_weights = zip(*grads, strict=True)
    by_head = (
        torch.cat(grad_maps, -1).permute(0, 2, 1),
        torch.stack(grad_grids, 2),
        torch.stack(grad_weights, 2),
    )
    return tuple(
        x.unflatten(0, (batch, heads)).transpose(1, 2).contiguous().to(dtype)
        for x, dtype in zip(by_head, types, strict=True)
    )


_BILINEAR_ZEROS = (0, 0, False)  # how grid_sample is called inside: mode, padding, align_corners


def _sample(level_map: Tensor, grid: Tensor) -> Tensor:
    """(B * heads, channels, Q, points)."""
    return F.grid_sample(
        level_map, grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )


def _maps_and_grids(value: Tensor, shapes: Shapes, sampling: Tensor) -> list[tuple]:
    """For every level (B * heads, channels, H, W) and (B * heads, Q, points, 2), in [-1, 1]."""
    # NaN, infinity and what overflows below would spoil grid_sample's weights
    sampling = sampling.nan_to_num(nan=OUTSIDE).clamp(OUTSIDE, -OUTSIDE)
    grids = (2 * sampling - 1).permute(0, 2, 3, 1, 4, 5).flatten(0, 1).unbind(1)
    maps = value.permute(0, 2, 3, 1).flatten(0, 1).split([h * w for h, w in shapes], dim=-1)
    maps = [x.unflatten(-1, (h, w)) for x, (h, w) in zip(maps, shapes, strict=True)]
    return list(zip(maps, grids, strict=True))


def _weights_by_head(attention: Tensor) -> Tensor:
    """(B * heads, 1, Q, levels * points)."""
    return attention.transpose(1, 2).flatten(0, 1).flatten(2)[:, None]


def _wide(*tensors: Tensor) -> list[Tensor]:
    """In the type that sums of the first are made in."""
    return [x.to(wide_type(tensors[0].dtype)) for x in tensors]


def locations_of(offsets: Tensor, shapes: Shapes, reference: Tensor) -> Tensor:
    """(B, Q, heads, levels, points, 2) in [0, 1], in the type of ``reference`` or a wider one.

    Offsets are in cells around a point, in half box sizes (over all points) in a box.
    """
    reference = reference[:, :, None, :, None]
    if reference.shape[-1] == 4:
        centre, size = reference.split(2, dim=-1)
        return centre + offsets * (size * (0.5 / offsets.shape[-2]))
    return reference + offsets / level_sizes(shapes, reference)


def level_sizes(shapes: Shapes, like: Tensor) -> Tensor:
    """(levels, 1, 2): width before height, to divide offsets by."""
    # One by one, so that sizes that a compiler leaves open stay open.
    sizes = [like.new_full((1,), size) for h, w in shapes for size in (w, h)]
    return torch.cat(sizes).view(len(shapes), 1, 2)


def weights_of(logits: Tensor) -> Tensor:
    """Softmax over levels and points together, at least in float32."""
    dtype = wide_type(logits.dtype)
    return logits.flatten(-2).softmax(-1, dtype=dtype).unflatten(-1, logits.shape[-2:])


def fused_gradients(
    grad_locations: Tensor,
    grad_weights: Tensor,
    shapes: Shapes,
    offsets: Tensor,
    logits: Tensor,
    weights: Tensor,
    reference: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of offsets, logits and reference points by those of the classic form."""
    weighed = weights * grad_weights
    grad_logits = weighed - weights * weighed.sum((-2, -1), keepdim=True)
    centre = grad_locations.sum((2, 4))
    if reference.shape[-1] == 2:
        grad_offsets, grad_reference = grad_locations / level_sizes(shapes, grad_locations), centre
    else:
        share = 0.5 / offsets.shape[-2]
        grad_offsets = grad_locations * (reference[:, :, None, :, None, 2:] * share)
        size = (grad_locations * offsets).sum((2, 4)) * share
        grad_reference = torch.cat([centre, size], dim=-1)
    return grad_offsets.to(offsets.dtype), grad_logits.to(logits.dtype), grad_reference
