"""Multi-scale deformable attention: the operator, with its softmax, and inside an encoder layer."""

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from unittest import mock

import torch
import torch.nn.functional as F
from tabulate import tabulate
from torch import Tensor
from tqdm import tqdm

from d2_psformer.layers import deformable_attention
from d2_psformer.modeling.pixel_decoder.deformable_encoder import EncoderLayer, cell_centres
from d2_psformer.ops import backends, fused_ms_deform_attn, ms_deform_attn

from .timing import peak_memory, take_turns

HEADS, CHANNELS, POINTS, OFFSET_PIXELS = 8, 32, 4, 4.0
LARGE = [(100, 152), (50, 76), (25, 38), (13, 19)]
SMALL = [(60, 80), (30, 40), (15, 20), (8, 10)]
# name -> (levels, queries; None: one a cell)
CASES = {
    "encoder 800x1216": (LARGE, None),
    "encoder 480x640": (SMALL, None),
    "decoder": (LARGE, 300),
}
WHATS = ("op", "op with softmax", "encoder layer")
PLAIN = "pytorch"  # the formulation with grid_sample, which everyone runs on a CPU
# A yardstick: torch's embedding_bag adds up as many pixels, at places and with weights given.
GATHER = "embedding_bag"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--what", nargs="+", choices=WHATS, default=list(WHATS))
    parser.add_argument("--threads", nargs="+", type=int, default=[1], metavar="N")
    parser.add_argument("--batch", type=int, default=1, metavar="B")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--no-memory", action="store_true", help="leave out peak memory")


def measure(options: argparse.Namespace) -> list[dict]:
    """Print a row for each measurement as it comes; return all of them."""
    rows = []
    for backend in backends.FOR_DEVICE[options.device]:
        if reason := backends.unavailable(backend):
            print(f"{backend} is left out: {reason}")
    plan = [
        (case, what, training, threads)
        for case in options.cases
        for what in options.what
        if what != "encoder layer" or CASES[case][1] is None
        for training in (False, True)
        for threads in options.threads
    ]
    for case, what, training, threads in tqdm(plan, desc="op", disable=None):
        torch.set_num_threads(threads)
        contestants = _contestants(options.device, what, training)
        calls = {
            name: _timed(environment, _call(case, what, training, options, *how))
            for name, (environment, *how) in contestants.items()
        }
        seconds = take_turns(calls, options.rounds, options.device)
        memory = {} if options.no_memory or threads > 1 else {
            name: peak_memory(partial(_call, case, what, training, options, *how), options.device)
            for name, (environment, *how) in contestants.items()
            if not environment
        }  # fmt: skip
        levels, queries = CASES[case]
        pairs = options.batch * (queries or sum(h * w for h, w in levels)) * HEADS
        for name, value in seconds.items():
            rows.append(
                {
                    "case": case,
                    "what": what,
                    "pass": "forward+backward" if training else "forward",
                    "threads": threads,
                    "kernel": name,
                    "ms": 1e3 * value,
                    "speed-up": seconds[PLAIN] / value,
                    "ns per (query, head)": 1e9 * value / pairs,
                    "peak MB": memory[name] / 2**20 if name in memory else None,
                    "memory saving": memory[PLAIN] / memory[name] if name in memory else None,
                }
            )
    print(tabulate(rows, headers="keys", floatfmt=".1f", missingval=""))
    return rows


def _contestants(
    device: str, what: str, training: bool
) -> dict[str, tuple[dict, str, torch.dtype]]:
    """name -> (environment, backend, type of the values)."""
    known = {PLAIN: ({}, PLAIN, torch.float32)}
    if device == "cuda":
        for backend in ("cuda", "triton"):
            known |= {f"{backend} {name}": ({}, backend, dtype) for name, dtype in DTYPES.items()}
    else:
        known["cpu"] = ({}, "cpu", torch.float32)
        known["cpu, avx2"] = ({"D2_PSFORMER_CPU_ISA": "avx2"}, "cpu", torch.float32)
        known["cpu bfloat16"] = ({}, "cpu", torch.bfloat16)
    yardstick = {}
    if device == "cpu" and what == "op" and not training:
        yardstick = {GATHER: ({}, GATHER, torch.float32)}
    return yardstick | {
        name: how
        for name, how in known.items()
        if backends.unavailable(how[1]) is None
        and not (what == "encoder layer" and device == "cpu" and how[2] == torch.bfloat16)
    }


def _timed(environment: dict[str, str], call: Callable[[], object]) -> Callable[[], object]:
    def run() -> None:
        with mock.patch.dict(os.environ, environment):
            call()

    return run


def _call(
    case: str, what: str, training: bool, options, backend: str, dtype: torch.dtype
) -> Callable[[], object]:
    """A pass over random inputs: the same for every backend."""
    torch.manual_seed(0)
    make = _layer_pass if what == "encoder layer" else partial(_op_pass, what == "op")
    forward, inputs = make(case, options.batch, backend, dtype, options.device)
    if not training:
        return torch.no_grad()(forward)
    for tensor in inputs:
        tensor.requires_grad_()
    gradient = torch.randn_like(forward())

    def both() -> tuple[Tensor, ...]:
        return torch.autograd.grad(forward(), inputs, gradient)

    return both


def _op_pass(is_classic: bool, case: str, batch: int, backend: str, dtype, device: str):
    levels, queries = CASES[case]
    length = sum(h * w for h, w in levels)
    reference = cell_centres(levels, torch.ones(batch, len(levels), 2)).to(device)
    if queries is not None:
        reference = torch.rand(batch, queries, 1, 2, device=device).repeat(1, 1, len(levels), 1)
    queries = reference.shape[1]
    points = (batch, queries, HEADS, len(levels), POINTS)
    value = torch.randn(batch, length, HEADS, CHANNELS, device=device).to(dtype)
    offsets = OFFSET_PIXELS * torch.randn(*points, 2, device=device)
    logits = torch.randn(points, device=device)
    if not is_classic:
        inputs = value, offsets, logits
        return lambda: fused_ms_deform_attn(
            value, levels, offsets, logits, reference, backend=backend
        ), inputs
    size = torch.tensor([(w, h) for h, w in levels], device=device)
    locations = reference[:, :, None, :, None] + offsets / size[:, None]
    weights = logits.flatten(-2).softmax(-1).view(points)
    inputs = value, locations, weights
    if backend == GATHER:
        return _gather_alone(value, levels, locations, weights), inputs
    return lambda: ms_deform_attn(value, levels, locations, weights, backend=backend), inputs


def _gather_alone(value: Tensor, levels, locations: Tensor, weights: Tensor):
    """Adding up four pixels a point, head after head from packed maps: nothing else to do."""
    batch, length, heads, channels = value.shape
    maps = value.permute(0, 2, 1, 3).reshape(-1, channels).contiguous()
    size = torch.tensor([(w, h) for h, w in levels])
    start = torch.tensor([0, *(h * w for h, w in levels[:-1])]).cumsum(0)
    corner = (locations * size[:, None] - 0.5).floor().long()
    pixels = []
    for right, below in ((0, 0), (1, 0), (0, 1), (1, 1)):
        x, y = (corner + torch.tensor([right, below])).unbind(-1)
        x, y = x.clamp(min=0).minimum(size[:, :1] - 1), y.clamp(min=0).minimum(size[:, 1:] - 1)
        pixels.append(y * size[:, :1] + x + start[:, None])
    head = torch.arange(batch * heads).view(batch, 1, heads, 1, 1, 1)
    index = (torch.stack(pixels, -1) + head * length).transpose(1, 2).flatten(3).flatten(0, 2)
    weight = weights[..., None].expand(*weights.shape, 4).transpose(1, 2).flatten(3).flatten(0, 2)
    index, weight = index.int().contiguous(), weight.contiguous()
    return lambda: F.embedding_bag(index, maps, mode="sum", per_sample_weights=weight)


def _layer_pass(case: str, batch: int, backend: str, dtype, device: str):
    levels, _ = CASES[case]
    layer = EncoderLayer(HEADS * CHANNELS, HEADS, len(levels), POINTS, 1024, dropout=0.0)
    torch.nn.init.normal_(layer.self_attn.sampling_offsets.bias, std=OFFSET_PIXELS)
    layer.to(device)
    reference = cell_centres(levels, torch.ones(batch, len(levels), 2)).to(device)
    tokens, position = torch.randn(2, batch, reference.shape[1], HEADS * CHANNELS, device=device)

    def forward() -> Tensor:
        with _layers_use(backend), torch.autocast(device, dtype, enabled=dtype != torch.float32):
            return layer(tokens, position, reference, levels, None)

    return forward, [tokens, *layer.parameters()]


@contextmanager
def _layers_use(backend: str) -> Iterator[None]:
    function = partial(fused_ms_deform_attn, backend=backend)
    with mock.patch.object(deformable_attention, "fused_ms_deform_attn", function):
        yield
