"""Losses, matches and gradients against the official code's numbers, padding counted as there."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from golden_relatives import CASES
from official_points import official_points

QUERY_CASES = [name for name in CASES if not name.startswith("perpixel")]
# Which targets the images of the batch have.
BATCHES = {
    "batch": ["all", "all"],
    "single": ["all"],
    "oneempty": ["all", "empty"],
    "allempty": ["empty"],
}


def prepare(golden, case: str, kinds: list[str]):
    """Our model, images and targets, in the official order of segments."""
    model = golden.model(case)
    samples = [
        golden.sample(i, CASES[case][2] if kind == "all" else kind) for i, kind in enumerate(kinds)
    ]
    images = model.normalizer([x["image"] for x in samples])
    targets = model.targets(samples, images)
    ordered = [in_order(t, x["instances"]) for t, x in zip(targets, samples, strict=True)]
    return model, images, ordered


def in_order(targets, instances):
    """Targets in the order of the instances, where ours puts things first and joins stuff."""
    masks = torch.zeros((len(instances), *targets.masks.shape[1:]), dtype=torch.bool)
    height, width = instances.image_size
    masks[:, :height, :width] = instances.gt_masks.tensor
    count = len(instances)
    return replace(
        targets,
        classes=instances.gt_classes,
        masks=masks,
        boxes=torch.zeros(count, 4),
        is_thing=torch.zeros(count, dtype=torch.bool),
    )


def losses_of(golden, case, kinds, tag, num_points=144):
    """Losses and matches of every layer, with the recorded random points."""
    model, images, targets = prepare(golden, case, kinds)
    criterion = model.criterion
    model.training = True  # the parts stay as they are: no dropout
    recorded = []
    original = criterion.match

    def match(outputs, targets):
        recorded[:] = original(outputs, targets)
        return recorded

    try:
        criterion.match = match
        if not case.startswith("mask2former"):
            return model, model.losses(images, targets), recorded
        samplers = criterion.masks, criterion.matcher.masks
        criterion.masks, criterion.matcher.masks = (
            replace(sampler, num_points=num_points) for sampler in samplers
        )

        def draw(index, shape):
            return golden.rules.rand_for(tag, index, shape)

        with official_points(criterion, draw, images=len(kinds), layers=10):
            losses = model.losses(images, targets)
        criterion.masks, criterion.matcher.masks = samplers
        return model, losses, recorded
    finally:
        model.training = False
        del criterion.match


def assert_losses(ours: dict, official: dict[str, float]) -> None:
    assert set(ours) == set(official)
    for name, value in official.items():
        assert float(ours[name]) == pytest.approx(value, rel=1e-4, abs=1e-6), name


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("case", QUERY_CASES)
def test_losses_and_matches(golden, case, batch):
    arrays = golden.arrays(f"{case}_loss_{batch}")
    model, losses, matches = losses_of(golden, case, BATCHES[batch], str(arrays["rand/tag"]))
    official = {
        name.partition("/")[2]: float(value)
        for name, value in arrays.items()
        if name.startswith("loss/loss_")
    }
    assert_losses(losses, official)
    assert float(sum(losses.values())) == pytest.approx(float(arrays["loss/TOTAL"]), rel=1e-4)
    names = [f"aux{i}" for i in range(len(matches) - 1)] + ["last"]
    for layer, name in zip(matches, names, strict=True):
        for i, (queries, segments) in enumerate(layer):
            assert np.array_equal(queries, arrays[f"match/{name}/img{i}/query"])
            assert np.array_equal(segments, arrays[f"match/{name}/img{i}/target"])


@pytest.mark.parametrize("case", CASES)
def test_gradients(golden, case):
    arrays = golden.arrays(f"{case}_loss_batch")
    model, losses, _ = losses_of(golden, case, BATCHES["batch"], str(arrays["rand/tag"]))
    model.zero_grad()
    sum(losses.values()).backward()
    ours = {golden.official_names(case)[n]: p.grad for n, p in model.named_parameters()}
    total = float(arrays["grad/total"])
    squares = 0.0
    for name, official in zip(arrays["grad/names"].tolist(), arrays["grad/norms"], strict=True):
        norm = float(ours[name].double().norm())
        squares += norm**2
        assert norm == pytest.approx(official, rel=5e-3, abs=1e-3 * total), name
    assert squares**0.5 == pytest.approx(total, rel=5e-3)
    model.zero_grad()


@pytest.mark.parametrize("case", ["perpixel_r50", "perpixelplus_r50"])
def test_losses_of_every_pixel(golden, case):
    arrays = golden.arrays(f"{case}_loss_batch")
    _, losses, _ = losses_of(golden, case, BATCHES["batch"], "")
    official = {
        name.partition("/")[2]: float(value)
        for name, value in arrays.items()
        if name.startswith("loss/loss_")
    }
    assert_losses(losses, official)


def test_official_number_of_points(golden):
    """The authors' 12,544 points."""
    name = "mask2former_r50_panoptic"
    official = golden.json("losses_m2f_all")[f"{name}/official_12544_points"]
    tag = f"{golden.variant}:{name}:official"
    _, losses, _ = losses_of(golden, name, BATCHES["batch"], tag, num_points=12544)
    total = official.pop("TOTAL", None)
    official = {k: v for k, v in official.items() if k.startswith("loss_")}
    assert_losses(losses, official)
    assert total is None or float(sum(losses.values())) == pytest.approx(total, rel=1e-4)
