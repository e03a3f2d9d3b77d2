"""Multi-scale deformable attention (Deformable DETR, equation 3), classic and fused."""

from collections.abc import Sequence

import torch
from torch import Tensor

from . import backends
from . import operator as registered
from . import reference as plain
from .inputs import Inputs, check_inputs, check_tensors, inputs_names, wide_type


def ms_deform_attn(
    value: Tensor,
    spatial_shapes: Sequence[tuple[int, int]] | Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    *,
    backend: str | None = None,
) -> Tensor:
    """Sample every level bilinearly at the given locations and sum with the given weights.

    Samples outside the map read zeros, and so does a location that is NaN or infinite; pixel
    centres are at (i + 0.5) / size. A weight that is not finite shows in the result, wherever its
    sample lies. Under autocast the values are cast to its type, the rest stays as it is.

    Args:
        value: (B, S, heads, channels), all levels one after the other, S = sum of H_l * W_l;
            float32, float64, bfloat16 or float16.
        spatial_shapes: (H, W) of every level. A list of ints where a graph is compiled or
            exported: the sizes of a tensor are unknown there.
        sampling_locations: (B, Q, heads, levels, points, 2), x before y, in [0, 1]; of the type
            of ``value``, or float32 beside half types.
        attention_weights: (B, Q, heads, levels, points), likewise.
        backend: "cpu", "cuda", "triton" or "pytorch"; None takes the fastest that is available.

    Returns:
        (B, Q, heads * channels), in the type of ``value``.

    Raises:
        ValueError: a shape, type or device that does not fit, named with what was expected.
        RuntimeError: the named backend is not available; the message says why and what to do.
    """
    return _run(value, spatial_shapes, sampling_locations, attention_weights, None, backend)


def fused_ms_deform_attn(
    value: Tensor,
    spatial_shapes: Sequence[tuple[int, int]] | Tensor,
    sampling_offsets: Tensor,
    attention_logits: Tensor,
    reference_points: Tensor,
    *,
    backend: str | None = None,
) -> Tensor:
    """:func:`ms_deform_attn` with softmax and locations computed in the same kernel.

    Offsets and logits may be slices of one projection: the strides of B and Q are arbitrary.

    Args:
        value: (B, S, heads, channels), as there.
        spatial_shapes: (H, W) of every level, as there.
        sampling_offsets: (B, Q, heads, levels, points, 2), x before y: in cells of the level
            around points, in half box sizes times ``points`` around boxes.
        attention_logits: (B, Q, heads, levels, points); the softmax runs over levels and points.
        reference_points: (B, Q, levels, 2) points or (B, Q, levels, 4) boxes (cx, cy, w, h), in
            [0, 1] of each level; computed in float32, or float64 beside float64 values.
        backend: as there.

    Returns:
        (B, Q, heads * channels), in the type of ``value``.

    Raises:
        ValueError, RuntimeError: as there.
    """
    check_tensors(value=value, reference_points=reference_points)
    if not reference_points.is_floating_point():
        raise ValueError(f"reference_points must be floats, got {reference_points.dtype}.")
    reference_points = reference_points.to(wide_type(value.dtype))
    return _run(
        value, spatial_shapes, sampling_offsets, attention_logits, reference_points, backend
    )


def _run(
    value: Tensor,
    spatial_shapes: Sequence[tuple[int, int]] | Tensor,
    sampling: Tensor,
    attention: Tensor,
    reference_points: Tensor | None,
    backend: str | None,
) -> Tensor:
    names = inputs_names(reference_points is not None)
    check_tensors(value=value, **dict(zip(names, (sampling, attention), strict=True)))
    device_type = value.device.type
    if backend is None:
        backend = backends.default(device_type)
    elif backend not in backends.NAMES:
        raise ValueError(f"backend must be None or one of {backends.NAMES}, got {backend!r}.")
    shapes = _flat(spatial_shapes)
    if backend != "pytorch":
        return registered.ms_deform_attn(
            value, shapes, sampling, attention, reference_points, backend
        )
    # plain operators, which any compiler or exporter knows
    pairs = list(zip(shapes[::2], shapes[1::2], strict=True))
    inputs = Inputs(value, pairs, sampling, attention, reference_points)
    if device_type not in ("cpu", "cuda") or not torch.is_autocast_enabled(device_type):
        check_inputs(inputs)
        return plain.forward(inputs)
    inputs = registered.autocast_inputs(device_type, inputs)
    check_inputs(inputs)
    with torch.autocast(device_type, enabled=False):
        return plain.forward(inputs)


def _flat(spatial_shapes: Sequence[tuple[int, int]] | Tensor) -> list[int]:
    """h0, w0, h1, w1, ..."""
    if isinstance(spatial_shapes, Tensor):
        check_tensors(spatial_shapes=spatial_shapes)
        if spatial_shapes.is_meta:
            raise ValueError("spatial_shapes is on meta: it must hold numbers.")
        spatial_shapes = spatial_shapes.tolist()
    try:
        pairs = [(height, width) for height, width in spatial_shapes]
    except (TypeError, ValueError):
        raise ValueError(f"spatial_shapes must be pairs (H, W), got {spatial_shapes}.") from None
    flat = [size for pair in pairs for size in pair]
    if not all(_is_size(size) for size in flat):
        raise ValueError(f"spatial_shapes must be pairs of ints, got {spatial_shapes}.")
    return flat


def _is_size(size: object) -> bool:
    return isinstance(size, torch.SymInt) or (isinstance(size, int) and size < 2**31)
