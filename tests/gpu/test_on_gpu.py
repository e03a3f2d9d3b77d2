"""The whole model on a GPU gives what it gives on the CPU; `make gpu-check` runs these tests.

PSFORMER_TEST_DEVICE=cpu runs them without a GPU, to try the tests themselves.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

import d2_psformer.modeling  # noqa: F401  registers models
from d2_psformer.d2.modeling import build_model
from d2_psformer.d2.structures import BitMasks, Instances
from d2_psformer.data.scenes import SCENES_CATEGORIES, generate_scene
from d2_psformer.engine import (
    Predictor,
    TrainStep,
    build_gradient_clipper,
    build_optimizer,
    load_config,
)
from d2_psformer.ops import backends

ROOT = Path(__file__).parents[2]
DEVICE = os.environ.get("PSFORMER_TEST_DEVICE", "cuda")
COMPILE = "MODEL.PSFORMER.COMPILE"
HALVES = [torch.bfloat16, torch.float16]

pytestmark = pytest.mark.skipif(
    DEVICE == "cuda" and not torch.cuda.is_available(), reason="this machine has no GPU"
)


@pytest.fixture(autouse=True)
def _full_precision(monkeypatch):
    """Convolutions of a GPU would else round float32 to TF32."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.fixture(params=backends.FOR_DEVICE[DEVICE])
def kernel(request, monkeypatch):
    """The one kernel that may serve."""
    if reason := backends.unavailable(request.param):
        pytest.skip(reason)
    monkeypatch.setitem(backends.FOR_DEVICE, DEVICE, (request.param,))


def config(device: str, *settings: str):
    path = str(ROOT / "configs" / "scenes" / "demo.yaml")
    weights = str(ROOT / "demo" / "psformer_scenes.pth")
    return load_config(path, ["MODEL.DEVICE", device, "MODEL.WEIGHTS", weights, *settings])


def predict(device: str, dtype: torch.dtype = torch.float32, *settings: str) -> list[np.ndarray]:
    """The class of every pixel of three scenes."""
    predictor = Predictor(config(device, *settings))
    maps = []
    for index in range(3):
        image, *_ = generate_scene(index)
        with torch.autocast(device, dtype, enabled=dtype != torch.float32):
            ids, segments = predictor(image)["panoptic_seg"]
        classes = np.full(int(ids.max()) + 1, -1)
        for segment in segments:
            classes[segment["id"]] = segment["category_id"]
        maps.append(classes[ids.cpu().numpy()])
    return maps


def agreement(found: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """The share of pixels that have the same class."""
    pairs = zip(found, expected, strict=True)
    return float(np.mean([one == other for one, other in pairs]))


@pytest.fixture(scope="module")
def on_cpu() -> list[np.ndarray]:
    return predict("cpu")


def test_prediction(kernel, on_cpu):
    assert (np.stack(on_cpu) >= 0).mean() > 0.9  # the model has found something
    assert agreement(predict(DEVICE), on_cpu) > 0.999


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_prediction_in_half_precision(kernel, on_cpu, dtype):
    assert agreement(predict(DEVICE, dtype), on_cpu) > 0.98


def test_prediction_compiled(on_cpu):
    assert agreement(predict(DEVICE, torch.float32, COMPILE, "True"), on_cpu) > 0.999


def batch() -> list[dict]:
    """Two scenes as a mapper gives them."""
    order = [c["id"] for c in SCENES_CATEGORIES]  # things first, as in the model
    samples = []
    for index in range(2):
        image, ids, segments = generate_scene(index)
        present = [s for s in segments if (ids == s["id"]).any()]
        instances = Instances(ids.shape)
        masks = np.stack([ids == s["id"] for s in present])
        instances.gt_masks = BitMasks(torch.from_numpy(masks))
        instances.gt_boxes = instances.gt_masks.get_bounding_boxes()
        instances.gt_classes = torch.tensor([order.index(s["category_id"]) for s in present])
        pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        samples.append({"image": pixels, "instances": instances})
    return samples


def train(device: str, dtype: torch.dtype | None = None, steps: int = 1, wrap=None) -> list[dict]:
    """The metrics of some steps from seeded weights."""
    torch.manual_seed(0)
    cfg = config("cpu")
    model = build_model(cfg).train()  # on the CPU, so that every device has the same weights
    optimizer_model = model.to(device)
    step = TrainStep(
        wrap(model) if wrap else model,
        build_optimizer(cfg, optimizer_model),
        clip=build_gradient_clipper(cfg),
        amp_dtype=dtype,
    )
    return [step([batch()], iteration) for iteration in range(steps)]


@pytest.fixture(scope="module")
def trained_on_cpu() -> dict:
    return train("cpu")[0]


def test_training_step(kernel, trained_on_cpu):
    (found,) = train(DEVICE)
    assert found == pytest.approx(trained_on_cpu, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_training_step_in_half_precision(kernel, trained_on_cpu, dtype):
    """With float16 the scaler leaves out the first steps, until its scale has fallen enough."""
    found = train(DEVICE, dtype, steps=10)
    assert found[0]["total_loss"] == pytest.approx(trained_on_cpu["total_loss"], rel=0.05)
    assert any("grad_norm" in metrics for metrics in found)
    assert found[-1]["total_loss"] < found[0]["total_loss"]


def test_one_process_over_nccl(tmp_path, trained_on_cpu):
    kind = "nccl" if DEVICE == "cuda" else "gloo"
    method = f"file://{tmp_path}/store"
    torch.distributed.init_process_group(kind, init_method=method, rank=0, world_size=1)
    try:
        wrap = torch.nn.parallel.DistributedDataParallel
        (found,) = train(DEVICE, wrap=wrap)
    finally:
        torch.distributed.destroy_process_group()
    assert found == pytest.approx(trained_on_cpu, rel=1e-3, abs=1e-4)
