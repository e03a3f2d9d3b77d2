"""Whole MaX-DeepLab networks against the official code's numbers."""

import zlib

import numpy as np
import pytest
import torch
from golden_models import FILES, golden_model, image, names_of, outputs, taps
from golden_networks import Golden, assert_near
from names import from_official
from torch import Tensor

TINY = [file for file in FILES if "tiny" in file]
# Rounding grows with the depth and the width: float32 allows no more there.
TOLERANCE = dict.fromkeys(TINY, 1e-4) | {"max_deeplab_s_real_width": 1e-3}


@pytest.fixture(scope="module")
def built(reference_max_deeplab):
    """Numbers and model by the name of the file."""
    kept = {}

    def build(file: str):
        if file not in kept:
            golden = Golden(reference_max_deeplab, file)
            kept[file] = golden, golden_model(golden, FILES[file])
        return kept[file]

    return build


def thinned(ours: Tensor, expected: Tensor) -> Tensor:
    """Every n-th channel, as the reference keeps of large maps."""
    return ours[:, :: ours.shape[1] // expected.shape[1]] if ours.ndim == 4 else ours


@pytest.mark.parametrize("file", FILES)
def test_golden_outputs(built, file):
    golden, model = built(file)
    with torch.no_grad():
        ours = outputs(model, image(golden))
    for name, y in ours.items():
        key = next(x for x in (f"out/{name}", f"out2/{name}") if x in golden.arrays)
        expected = golden.tensor(key)
        assert_near(thinned(y, expected), expected, TOLERANCE[file])


@pytest.mark.parametrize("file", FILES)
def test_golden_maps_inside(built, file):
    golden, model = built(file)
    ours = taps(model, image(golden))
    compared = 0
    for key in golden.arrays:
        kind, _, name = key.partition("/")
        if kind.startswith("tap"):
            expected = golden.tensor(key)
            assert_near(thinned(ours[name], expected), expected, TOLERANCE[file])
            compared += 1
    assert compared > 8


@pytest.mark.parametrize("file", TINY)
def test_golden_gradients(built, file):
    """Norms by parameter, of the sum of the means of each output times a projection."""
    golden, model = built(file)
    which, loss = file.removeprefix("max_deeplab_"), 0
    for name, y in outputs(model, image(golden)).items():
        seed = zlib.crc32(f"input/{golden.config['salt']}/{which}/proj/{name}".encode())
        shape = golden.arrays[f"out/{name}"].shape
        projection = np.random.RandomState(seed).standard_normal(shape).astype(np.float32)
        projection = torch.from_numpy(projection)
        loss = loss + (y * (projection.movedim(-1, 1) if y.ndim == 4 else projection)).mean()
    loss.backward()
    assert abs(loss.item() - golden.arrays["grad_eval/loss"]) < 1e-4
    norms = (golden.arrays[f"grad_eval/{key}"].tolist() for key in ("names", "norms"))
    norms = dict(zip(*norms, strict=True))
    names = names_of(model, golden, FILES[file])
    for ours, parameter in model.named_parameters():
        name = names[ours]
        if not name.endswith("batch_norm_similarity/beta"):  # it does not change the softmax
            norm = parameter.grad.norm().item()
            assert norm == pytest.approx(norms[name], rel=2e-2, abs=1e-7), name
    model.zero_grad()


@pytest.mark.parametrize("file", TINY)
def test_golden_training_mode(built, file):
    """Outputs with the statistics of the batch, and the moving ones after them."""
    golden, model = built(file)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        ours = outputs(model.train(), image(golden))
    after = model.eval().state_dict()
    for name, y in ours.items():
        if f"train_out/{name}" in golden.arrays:
            assert_near(y, golden.tensor(f"train_out/{name}"), 5e-3)
    official = {name: key for key, name in names_of(model, golden, FILES[file]).items()}
    start = 0
    for name in golden.arrays["train_bn/names"]:
        size = int(np.prod(golden.shapes[name]))
        array = golden.arrays["train_bn/values"][start : start + size]
        moving = after[official[name]]
        assert_near(moving, from_official(array, name, moving), 5e-3)
        start += size
    assert start == len(golden.arrays["train_bn/values"])
    model.load_state_dict(before)
