"""MaX-DeepLab-S, and one of its layers, against axial attention as its formula is written."""

import argparse
from contextlib import nullcontext
from unittest.mock import patch

import torch
from torch import Tensor, nn
from tqdm import tqdm

from d2_psformer.layers import AxialAttention
from d2_psformer.layers.axial_attention import REACH
from d2_psformer.modeling.backbone import MaXDeepLabBackbone
from d2_psformer.modeling.backbone.max_deeplab_network import Network

from .timing import Call, milliseconds, peak_memory, take_turns

IMPLEMENTATIONS = ("formula", "ours")
NETWORK = Network()


def measure(options: argparse.Namespace) -> list[dict]:
    """One row for each part, pass and implementation."""
    torch.set_num_threads(options.threads)
    rows = []
    plan = [(part, training) for part in PARTS for training in (False, True)]
    for part, training in tqdm(plan, desc="axial", disable=None):
        calls = build(part, training, options.size, options.device)
        peaks = {name: peak_memory(call, options.device) for name, call in calls.items()}
        seconds = take_turns(calls, options.rounds, options.device)
        base = milliseconds(seconds["formula"])["median ms"]
        for name, peak in peaks.items():
            found = milliseconds(seconds[name])
            rows.append(
                {
                    "part": part,
                    "pass": "forward+backward" if training else "forward",
                    "implementation": name,
                    **found,
                    "times faster": base / found["median ms"],
                    "peak MB": None if peak is None else peak / 2**20,
                }
            )
    return rows


def build(part: str, training: bool, size: int, device: str) -> dict[str, Call]:
    """A pass of each implementation over the same weights and random numbers.

    Args:
        size: pixels of the image's sides.
    """
    torch.manual_seed(0)
    model, x = PARTS[part](size)
    model, x = model.to(device).train(training), x.to(device)

    def forward(name: str) -> Tensor | dict[str, Tensor]:
        swapped = patch.object(AxialAttention, "forward", formula)
        with swapped if name == "formula" else nullcontext():
            return model(x)

    def step(name: str) -> None:
        y = forward(name)
        outputs = list(y.values()) if isinstance(y, dict) else [y]
        torch.autograd.backward(outputs, [torch.ones_like(y) for y in outputs])

    run = step if training else torch.no_grad()(forward)
    return {name: lambda name=name: run(name) for name in IMPLEMENTATIONS}


def formula(layer: AxialAttention, x: Tensor) -> Tensor:
    """What ``AxialAttention.forward`` computes: the terms on an axis of their own, each norm as
    one affine function of all of them."""
    height, heads = layer.axis == "height", layer.heads
    x = x.permute(0, 3, 2, 1) if height else x.permute(0, 2, 3, 1)  # (B, lines, cells, C)
    x = x @ layer.qkv.conv.weight[..., 0, 0].T
    x = _normed(x, layer.qkv.norm, (1, 1, 1, -1), (0, 1, 2))
    q, k, v = (y.unflatten(-1, (heads, -1)).transpose(2, 3) for y in x.split(layer.sizes, -1))
    cells = torch.arange(x.shape[2], device=x.device)
    distances = cells - cells[:, None] + REACH
    logits = [q @ k.mT, torch.einsum("bnhid,ijd->bnhij", q, layer.query_encodings[distances])]
    logits.append(torch.einsum("bnhjd,ijd->bnhij", k, layer.key_encodings[distances]))
    logits = torch.stack(logits)
    logits = _normed(logits, layer.similarity_norm, (3, 1, 1, heads, 1, 1), (1, 2, 4, 5))
    weights = logits.sum(0).softmax(-1)
    read = [weights @ v]
    read.append(torch.einsum("bnhij,ijd->bnhid", weights, layer.value_encodings[distances]))
    read = _normed(torch.stack(read), layer.output_norm, (2, 1, 1, heads, 1, -1), (1, 2, 4))
    result = read.sum(0).transpose(2, 3).flatten(3)
    return result.permute(0, 3, 2, 1) if height else result.permute(0, 3, 1, 2)


def _normed(x: Tensor, norm: nn.BatchNorm2d, shape: tuple[int, ...], axes: tuple[int, ...]):
    """Batch norm over several axes; ``shape`` is that of its parameters."""
    mean, var = norm.running_mean.view(shape), norm.running_var.view(shape)
    if norm.training:
        var, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
        with torch.no_grad():
            norm.running_mean.lerp_(mean.flatten(), norm.momentum)
            norm.running_var.lerp_(var.flatten(), norm.momentum)
    x = (x - mean) * (var + norm.eps).rsqrt()
    return x * norm.weight.view(shape) + norm.bias.view(shape)


def _layer(size: int) -> tuple[nn.Module, Tensor]:
    """Attention along the height in stage 5, and what it gets."""
    width, side = NETWORK.channels(5) // 2, (size - 1) // 16 + 1
    x = torch.randn(1, width, side, side).contiguous(memory_format=torch.channels_last)
    return AxialAttention(width, width // 2, width, "height", NETWORK.heads), x.requires_grad_()


def _network(size: int) -> tuple[nn.Module, Tensor]:
    model = MaXDeepLabBackbone(network=NETWORK, queries=128, feature_dim=256)
    return model, torch.randn(1, 3, size, size)


# Name in the table -> the module and its input for an image of a size.
PARTS = {"layer of stage 5": _layer, "S without heads": _network}
