"""Inputs for every kernel binding, and what the reference in float64 makes of them."""

import torch

from d2_psformer.ops import reference
from d2_psformer.ops.inputs import Inputs

SHAPES = [(5, 7), (3, 4), (1, 1)]


def make_inputs(
    components=0,
    channels=8,
    points=4,
    shapes=SHAPES,
    dtype=torch.float32,
    queries=5,
    heads=3,
    device="cpu",
):
    """Strided as slices of one merged projection; some points outside, one NaN, one infinite."""
    generator = torch.Generator().manual_seed(channels * points + components)
    batch, levels = 2, len(shapes)
    n = heads * levels * points
    length = sum(h * w for h, w in shapes)
    value = torch.randn(length, batch, heads, channels, generator=generator).transpose(0, 1)
    merged = torch.randn(batch, queries, 3 * n, generator=generator)
    references = torch.rand(batch, queries, levels, components, generator=generator)
    value, merged, references = (x.to(device) for x in (value, merged, references))
    sampling = merged[..., : 2 * n].unflatten(-1, (heads, levels, points, 2))
    attention = merged[..., 2 * n :].unflatten(-1, (heads, levels, points))
    if components == 0:
        sampling.mul_(0.4).add_(0.5)
        attention.abs_()
    else:
        sampling.mul_(2)
    if queries:
        sampling[0, 0, 0, 0, 0, 0] = float("nan")
        sampling[0, 0, 1, 0, 0, 1] = float("inf")
    value, merged = value.to(dtype), merged.to(dtype)
    sampling = merged[..., : 2 * n].unflatten(-1, (heads, levels, points, 2))
    attention = merged[..., 2 * n :].unflatten(-1, (heads, levels, points))
    return Inputs(value, shapes, sampling, attention, references if components else None)


def border_inputs():
    """The last pixel of a 2 x 3 map is infinite; the point is the centre of the pixel beside it,
    so that it reads zero, with gradient one for that pixel."""
    value = torch.zeros(1, 6, 1, 4)
    value[0, 5] = float("inf")
    sampling = torch.tensor([1.5 / 3, 1.5 / 2]).view(1, 1, 1, 1, 1, 2)
    return Inputs(value, [(2, 3)], sampling, torch.ones(1, 1, 1, 1, 1), None)


def check(kernel, inputs, tolerance=1e-5):
    """Forward and backward of a binding against the reference in float64."""
    torch.testing.assert_close(
        kernel.forward(inputs).double(),
        reference.forward(in_double(inputs)),
        atol=tolerance,
        rtol=tolerance,
    )
    value, _, sampling, attention, _ = inputs
    generator = torch.Generator().manual_seed(7)
    grad = torch.randn(*sampling.shape[:2], value.shape[2] * value.shape[3], generator=generator)
    grad = grad.to(value)
    found = kernel.backward(grad, inputs)
    expected = reference.backward(grad.double(), in_double(inputs))
    for ours, theirs, like in zip(found, expected, (value, sampling, attention), strict=True):
        assert ours.dtype == like.dtype and ours.is_contiguous()
        scale = max(1.0, theirs.abs().max().item()) if theirs.numel() else 1.0
        torch.testing.assert_close(ours.double(), theirs, atol=tolerance * scale, rtol=tolerance)


def in_double(inputs):
    return Inputs(*(x.double() if isinstance(x, torch.Tensor) else x for x in inputs))
