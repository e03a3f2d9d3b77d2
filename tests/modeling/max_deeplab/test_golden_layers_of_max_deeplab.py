"""MaX-DeepLab's layers and blocks alone against the official code's numbers."""

from pathlib import Path

import pytest
import torch
from golden_layers import BUILDERS
from golden_networks import Golden, assert_near
from names import from_official
from torch import Tensor

FILE = "layer_cases"


def cases(folder: Path, kind: str = "") -> list[str]:
    with Golden.open(folder, FILE) as archive:
        names = dict.fromkeys(key.partition("/")[0] for key in archive.files)
    return [name for name in names if name.startswith(kind)]


def inputs(golden: Golden) -> dict[str, Tensor]:
    """By name, requiring gradients; maps as (B, C, H, W)."""
    keys = [key for key in golden.arrays if key.startswith("in/")]
    return {key[3:]: golden.tensor(key).clone().requires_grad_() for key in keys}


@pytest.fixture(params=BUILDERS)
def layers(request, reference_max_deeplab):
    """Case, numbers and our layer of every case of a kind."""
    kind, built = request.param, []
    for case in cases(reference_max_deeplab, kind):
        golden = Golden(reference_max_deeplab, FILE, case)
        layer = BUILDERS[kind](golden)
        golden.fill(layer.module, layer.names(case, golden.shapes))
        built.append((case, golden, layer))
    return built


def test_golden_cases_are_all_here(reference_max_deeplab):
    every = [case for kind in BUILDERS for case in cases(reference_max_deeplab, kind)]
    assert sorted(every) == sorted(cases(reference_max_deeplab))


def test_golden_outputs_and_gradients(layers):
    for _, golden, layer in layers:
        x = inputs(golden)
        outputs = layer.run(layer.module, **x)
        for name, y in outputs.items():
            assert_near(y, golden.tensor(f"out/{name}"), 2e-5)
        sum(y.square().sum() for y in outputs.values()).backward()
        for name, tensor in x.items():
            assert_near(tensor.grad, golden.tensor(f"grad_sumsq/{name}"), 1e-4)


def test_golden_training_step(layers):
    """Outputs with the statistics of the batch, and the moving ones after them."""
    for case, golden, layer in layers:
        expected = [key[10:] for key in golden.arrays if key.startswith("train_out/")]
        if not expected:
            continue
        with torch.no_grad():
            outputs = layer.run(layer.module.train(), **inputs(golden))
        for name in expected:
            assert_near(outputs[name], golden.tensor(f"train_out/{name}"), 1e-4)
        state = layer.module.state_dict()
        for ours, name in layer.names(case, golden.shapes).items():
            if f"train_w/{name}" in golden.arrays:
                array = golden.arrays[f"train_w/{name}"]
                moving = state[ours].flatten()[: array.size]  # the rest is of no use there
                # the official code takes the biased variance of sequences, as short as 15 here
                assert_near(moving, from_official(array, name, moving), 1e-2)
