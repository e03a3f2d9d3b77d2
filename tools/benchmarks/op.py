"""Multi-scale deformable attention: from offsets and logits to the sampled values.

This is what an attention layer does between its projections: a softmax, sampling locations, and the
operator. Every implementation gets the same random inputs.
"""

import argparse
import importlib
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from tqdm import tqdm

from d2_psformer.ops import backends, fused_ms_deform_attn

from .timing import Call, milliseconds, peak_memory, take_turns

HEADS, CHANNELS, POINTS, OFFSET_PIXELS = 8, 32, 4, 4.0
LARGE = [(100, 152), (50, 76), (25, 38), (13, 19)]
SMALL = [(60, 80), (30, 40), (15, 20), (8, 10)]
# name: (levels, queries; None: one for each cell)
CASES = {
    "encoder 800x1216": (LARGE, None),
    "encoder 480x640": (SMALL, None),
    "decoder": (LARGE, 300),
}
GRID_SAMPLE = "grid_sample"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

Levels = list[tuple[int, int]]  # height and width
# value, offsets, logits and reference points -> the sampled values (B, Q, heads * channels)
Forward = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def measure(options: argparse.Namespace) -> list[dict]:
    """One row for each case, pass, type and implementation."""
    torch.set_num_threads(options.threads)
    names = _available(options.device)
    plan = [(case, training) for case in options.cases for training in (False, True)]
    rows = []
    for case, training in tqdm(plan, desc="op", disable=None):
        how = {f"{name}, {dtype}": (name, dtype) for name in names for dtype in options.dtypes}
        calls = {
            key: build(case, training, options.device, name, dtype)
            for key, (name, dtype) in how.items()
        }
        peaks = {key: peak_memory(call, options.device) for key, call in calls.items()}
        seconds = take_turns(calls, options.rounds, options.device)
        base = milliseconds(seconds[f"{GRID_SAMPLE}, {options.dtypes[0]}"])["median ms"]
        for key, (name, dtype) in how.items():
            found = milliseconds(seconds[key])
            rows.append(
                {
                    "case": case,
                    "pass": "forward+backward" if training else "forward",
                    "implementation": name,
                    "dtype": dtype,
                    **found,
                    "times faster": base / found["median ms"],
                    "peak MB": None if peaks[key] is None else peaks[key] / 2**20,
                }
            )
    return rows


def build(case: str, training: bool, device: str, name: str, dtype: str) -> Call:
    """One pass of an implementation over random inputs, which are the same for all of them."""
    torch.manual_seed(0)
    levels, queries = CASES[case]
    centres = _cell_centres(levels) if queries is None else torch.rand(queries, 2)
    reference = centres[None, :, None].repeat(1, 1, len(levels), 1).to(device)
    cells, queries = sum(h * w for h, w in levels), len(centres)
    points = (1, queries, HEADS, len(levels), POINTS)
    value = torch.randn(1, cells, HEADS, CHANNELS, device=device).to(DTYPES[dtype])
    offsets = OFFSET_PIXELS * torch.randn(*points, 2, device=device)
    logits = torch.randn(points, device=device)
    inputs = [value, offsets, logits]
    forward = partial(IMPLEMENTATIONS[name](levels, device), *inputs, reference)
    if not training:
        return torch.no_grad()(forward)
    for tensor in inputs:
        tensor.requires_grad_()
    gradient = torch.randn_like(forward())
    return lambda: torch.autograd.grad(forward(), inputs, gradient)


def _cell_centres(levels: Levels) -> Tensor:
    """(cells, 2), x before y, in 0...1: an encoder has a query for each cell."""
    grids = [torch.meshgrid(torch.arange(w), torch.arange(h), indexing="xy") for h, w in levels]
    pairs = zip(grids, levels, strict=True)
    centres = [((x + 0.5) / w, (y + 0.5) / h) for (x, y), (h, w) in pairs]
    return torch.cat([torch.stack(pair, dim=-1).flatten(0, 1) for pair in centres])


def _ours(backend: str, levels: Levels, device: str) -> Forward:
    def forward(value: Tensor, offsets: Tensor, logits: Tensor, reference: Tensor) -> Tensor:
        return fused_ms_deform_attn(value, levels, offsets, logits, reference, backend=backend)

    return forward


def _by_locations(operator: Callable[..., Tensor], levels: Levels, device: str) -> Forward:
    """The softmax and the locations in PyTorch, before an operator that takes them."""
    sizes = torch.tensor([(w, h) for h, w in levels], device=device)[:, None]

    def forward(value: Tensor, offsets: Tensor, logits: Tensor, reference: Tensor) -> Tensor:
        locations = reference[:, :, None, :, None] + offsets / sizes
        weights = logits.flatten(-2).softmax(-1).view_as(logits)
        return operator(value, locations.to(value), weights.to(value))

    return forward


def _transformers(levels: Levels, device: str, from_hub: bool = False) -> Forward:
    """The module that transformers runs, or the kernel that `kernels` fetches in its place."""
    if from_hub:
        hub = importlib.import_module("kernels").get_kernel("kernels-community/deformable-detr")
        module = hub.layers.MultiScaleDeformableAttention()
    else:
        name = "transformers.models.deformable_detr.modeling_deformable_detr"
        module = importlib.import_module(name).MultiScaleDeformableAttention()
    shapes, starts = _shape_tensors(levels, device)

    def operator(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        return module(value, shapes, levels, starts, locations, weights, 64)

    return _by_locations(operator, levels, device)


def _deformops(levels: Levels, device: str) -> Forward:
    function = importlib.import_module("deformops").deform2d_multiscale
    shapes, starts = _shape_tensors(levels, device)

    def operator(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        return function(value, shapes, starts, locations, weights)

    return _by_locations(operator, levels, device)


def _shape_tensors(levels: Levels, device: str) -> tuple[Tensor, Tensor]:
    """The shapes of the levels, and where each begins."""
    shapes = torch.tensor(levels, device=device)
    return shapes, shapes.prod(1).cumsum(0) - shapes.prod(1)


IMPLEMENTATIONS: dict[str, Callable[[Levels, str], Forward]] = {
    GRID_SAMPLE: partial(_ours, "pytorch"),
    **{name: partial(_ours, name) for name in ("cpu", "cuda", "triton")},
    "transformers": _transformers,
    "transformers, hub kernel": partial(_transformers, from_hub=True),
    "deformops": _deformops,
}


def _available(device: str) -> list[str]:
    """The implementations that run on this device; a line says why another is left out."""
    unfit = {"cpu": ("cuda", "triton", "transformers, hub kernel", "deformops"), "cuda": ("cpu",)}
    names = []
    for name in IMPLEMENTATIONS:
        if name in unfit[device]:
            continue
        reason = backends.unavailable(name) if name in backends.NAMES else None
        try:
            if not reason:
                build("decoder", False, device, name, "float32")()
                names.append(name)
        except Exception as error:  # another package, of whatever version
            reason = f"{type(error).__name__}: {error}"
        if reason:
            tqdm.write(f"{name} is left out: {reason}")
    return names
