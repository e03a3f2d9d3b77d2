"""A quick look at a backend: does it agree with plain PyTorch, and how fast is it?"""

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from .functions import fused_ms_deform_attn, ms_deform_attn
from .inputs import Inputs

SMALL = [(5, 7), (3, 4), (1, 2)]
MODERATE = [(60, 80), (30, 40), (15, 20), (8, 10)]  # levels of an image of 480 x 640
HEADS, CHANNELS, POINTS = 8, 32, 4
LARGEST_DIFFERENCE = 1e-3
REPEATS = 5


def largest_difference(backend: str, device: str) -> float:
    """Between the backend and plain PyTorch: outputs and gradients, relative to the largest."""
    worst = 0.0
    for components in (0, 2, 4):
        inputs = _random_inputs(SMALL, 9, 2, components, device)
        ours, theirs = (_with_gradients(inputs, name) for name in (backend, "pytorch"))
        for mine, expected in zip(ours, theirs, strict=True):
            difference = (mine - expected).abs().max() / expected.abs().max().clamp(min=1e-6)
            # a NaN is a difference too
            worst = max(worst, difference.nan_to_num(nan=float("inf")).item())
    return worst


def milliseconds(backend: str, device: str) -> tuple[float, float]:
    """Medians of a forward pass, and of forward and backward, with as many queries as cells."""
    queries = sum(h * w for h, w in MODERATE)
    inputs = _random_inputs(MODERATE, queries, 1, 2, device)
    with torch.no_grad():
        forward = _median(lambda: _forward(inputs, backend), device)
    return forward, _median(lambda: _with_gradients(inputs, backend), device)


def _random_inputs(
    shapes: list[tuple[int, int]], queries: int, batch: int, components: int, device: str
) -> Inputs:
    """The same numbers in every run and on every device; some points lie outside of the maps."""
    generator = torch.Generator().manual_seed(0)
    points = (batch, queries, HEADS, len(shapes), POINTS)
    value = (batch, sum(h * w for h, w in shapes), HEADS, CHANNELS)
    value, sampling, attention = (
        torch.randn(size, generator=generator).to(device) for size in (value, (*points, 2), points)
    )
    reference = torch.rand((batch, queries, len(shapes), components), generator=generator)
    return Inputs(
        value, shapes, sampling * 4, attention, reference.to(device) if components else None
    )


def _forward(inputs: Inputs, backend: str) -> Tensor:
    if inputs.reference is None:
        return ms_deform_attn(*inputs[:4], backend=backend)
    return fused_ms_deform_attn(*inputs, backend=backend)


def _with_gradients(inputs: Inputs, backend: str) -> tuple[Tensor, ...]:
    """Output; gradients of value, sampling and attention, for one that differs at every output."""
    leaves = [x.requires_grad_() for x in (inputs.value, inputs.sampling, inputs.attention)]
    output = _forward(inputs, backend)
    return output, *torch.autograd.grad(output, leaves, output.detach().cos())


def _median(function: Callable[[], object], device: str) -> float:
    times = []
    for _ in range(REPEATS + 1):  # the first warms up
        start = time.perf_counter()
        function()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times[1:])
