"""Random arguments of the operator, classic and fused, for the tests of this folder."""

import pytest
import torch
from torch import Tensor

from d2_psformer.ops import backends, fused_ms_deform_attn, ms_deform_attn

BACKENDS = ("cpu", "pytorch")
FORMS = (None, 2, 4)  # components of the reference points; None: classic


def skip_without(backend: str) -> None:
    if reason := backends.unavailable(backend):
        pytest.skip(f"{backend}: {reason}")


def random_inputs(
    shapes=((3, 4), (2, 2)),
    batch=2,
    queries=5,
    heads=3,
    channels=4,
    points=2,
    dtype=torch.float32,
    components=None,
) -> tuple[Tensor, list, Tensor, Tensor, Tensor | None]:
    """value, shapes, sampling, attention and reference; some points lie outside the map.

    Classic (``components`` None): locations, and weights that sum to one. Else offsets of a few
    cells and logits, with points (2) or boxes (4).
    """
    shapes = list(shapes)
    length, levels = sum(h * w for h, w in shapes), len(shapes)
    value = torch.randn(batch, length, heads, channels, dtype=dtype)
    sampling = torch.rand(batch, queries, heads, levels, points, 2, dtype=dtype) * 1.4 - 0.2
    attention = torch.randn(batch, queries, heads, levels, points, dtype=dtype)
    if components is None:
        weights = attention.flatten(-2).softmax(-1).unflatten(-1, (levels, points))
        return value, shapes, sampling, weights, None
    reference = torch.rand(batch, queries, levels, components, dtype=dtype) * 0.8 + 0.1
    return value, shapes, (sampling - 0.5) * 4, attention, reference


def call(inputs: tuple, backend: str | None = None) -> Tensor:
    """The public function that these inputs belong to."""
    *tensors, reference = inputs
    if reference is None:
        return ms_deform_attn(*tensors, backend=backend)
    return fused_ms_deform_attn(*tensors, reference, backend=backend)


def flat(shapes: list) -> list[int]:
    return [size for shape in shapes for size in shape]
