"""A quick look at a backend: does it agree with the reference, and how fast is it?"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .functions import fused_ms_deform_attn, ms_deform_attn

SMALL = [(5, 7), (3, 4), (1, 2)]
MODERATE = [(60, 80), (30, 40), (15, 20), (8, 10)]  # levels of an image of 480 x 640
HEADS, CHANNELS, POINTS = 8, 32, 4
LARGEST_DIFFERENCE = 1e-3
REPEATS = 5


@dataclass(frozen=True)
class Inputs:
    """Tensors of one fused call; offsets of a few cells, so that some points lie outside."""

    value: Tensor
    offsets: Tensor
    logits: Tensor
    reference: Tensor
    shapes: list[tuple[int, int]]

    @classmethod
    def random(
        cls, shapes: list[tuple[int, int]], queries: int, batch: int, device: str, components: int
    ) -> "Inputs":
        """The same numbers in every run and on every device."""
        generator = torch.Generator().manual_seed(0)
        length, levels = sum(h * w for h, w in shapes), len(shapes)
        points = (batch, queries, HEADS, levels, POINTS)
        sizes = [(batch, length, HEADS, CHANNELS), (*points, 2), points]
        tensors = [torch.randn(size, generator=generator) for size in sizes]
        tensors[1] *= 4
        reference = torch.rand((batch, queries, levels, components), generator=generator)
        return cls(*(x.to(device) for x in (*tensors, reference)), shapes)

    def run(self, backend: str, fused: bool = True) -> Tensor:
        """The fused form, or the classic one with the raw numbers as locations and weights."""
        tensors = (self.value, self.shapes, self.offsets, self.logits)
        if fused:
            return fused_ms_deform_attn(*tensors, self.reference, backend=backend)
        return ms_deform_attn(*tensors, backend=backend)

    def gradients(self, backend: str, fused: bool = True) -> tuple[Tensor, ...]:
        """Of values, offsets and logits, for a gradient that differs at every output."""
        inputs = [x.requires_grad_() for x in (self.value, self.offsets, self.logits)]
        output = self.run(backend, fused)
        return torch.autograd.grad(output, inputs, output.detach().cos())


def largest_difference(backend: str, device: str) -> float:
    """Between the backend and plain PyTorch: outputs and gradients, relative to the largest."""
    worst = 0.0
    for components, fused in ((2, False), (2, True), (4, True)):
        inputs = Inputs.random(SMALL, queries=9, batch=2, device=device, components=components)
        ours, theirs = (
            (inputs.run(name, fused), *inputs.gradients(name, fused))
            for name in (backend, "pytorch")
        )
        for mine, expected in zip(ours, theirs, strict=True):
            difference = (mine - expected).abs().max() / expected.abs().max().clamp(min=1e-6)
            # a NaN is a difference too
            worst = max(worst, difference.nan_to_num(nan=float("inf")).item())
    return worst


def milliseconds(backend: str, device: str) -> tuple[float, float]:
    """Medians of a forward pass, and of forward and backward, with as many queries as cells."""
    queries = sum(h * w for h, w in MODERATE)
    inputs = Inputs.random(MODERATE, queries, batch=1, device=device, components=2)
    with torch.no_grad():
        forward = _median(lambda: inputs.run(backend), device)
    return forward, _median(lambda: inputs.gradients(backend), device)


def _median(function: Callable[[], object], device: str) -> float:
    times = []
    for _ in range(REPEATS + 1):  # the first warms up
        start = time.perf_counter()
        function()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times[1:])
