"""Losses, matches and gradients against the official code's numbers, padding counted as there."""

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from golden_relatives import CASES
from official_points import official_points

QUERY_CASES = [name for name in CASES if not name.startswith("perpixel")]
# The images of a batch, and which targets each has.
BATCHES = {
    "batch": {0: "all", 1: "all"},
    "single": {0: "all"},
    "oneempty": {0: "all", 1: "empty"},
    "allempty": {0: "empty"},
}
RANKS = {"rank0": {0: "all"}, "rank1": {1: "all"}}  # of two processes
NUM_POINTS = 144  # of the recorded cases of Mask2Former


def prepare(golden, case: str, batch: str):
    """Our model, its outputs of every layer, and the targets in the official order.

    In float32 a rounding error, which depends on the number of threads, can turn a cell of masked
    attention over; the recorded numbers have none that float64 has not.
    """
    samples = [
        golden.sample(image, CASES[case][2] if kind == "all" else kind)
        for image, kind in (BATCHES | RANKS)[batch].items()
    ]
    model = golden.double_model(case)
    if case not in QUERY_CASES:
        samples = [padded_with_grey(sample, samples) for sample in samples]
    images = model.normalizer([x["image"] for x in samples])
    targets = model.targets(samples, images)
    targets = [in_order(t, x["instances"]) for t, x in zip(targets, samples, strict=True)]
    model.training = True  # the parts stay as they are: no dropout
    outputs = model.predict(images.tensor.double())
    model.training = False
    return model, outputs, targets


def padded_with_grey(sample: dict, samples: list[dict]) -> dict:
    """As the official mapper of the baselines pads: to a multiple of 32."""
    sides = [max(x["image"].shape[dim] for x in samples) for dim in (1, 2)]
    height, width = sample["image"].shape[1:]
    below, right = (-(-x // 32) * 32 - y for x, y in zip(sides, (height, width), strict=True))
    return sample | {
        "image": F.pad(sample["image"], (0, right, 0, below), value=128),
        "sem_seg": F.pad(sample["sem_seg"], (0, right, 0, below), value=255),
    }


def in_order(targets, instances):
    """Targets in the order of the instances, where ours puts things first and joins stuff."""
    count, (height, width) = len(instances), instances.image_size
    masks = torch.zeros((count, *targets.masks.shape[1:]), dtype=torch.bool)
    masks[:, :height, :width] = instances.gt_masks.tensor
    return replace(
        targets,
        classes=instances.gt_classes,
        masks=masks,
        boxes=torch.zeros(count, 4),
        is_thing=torch.zeros(count, dtype=torch.bool),
    )


def official_matches(arrays, images: int) -> list[list[tuple]]:
    """Of every layer and image."""
    layers = [f"aux{i}" for i in range(20) if f"match/aux{i}/img0/query" in arrays] + ["last"]
    sides = ("query", "target")
    return [
        [
            tuple(torch.from_numpy(arrays[f"match/{layer}/img{i}/{side}"]).long() for side in sides)
            for i in range(images)
        ]
        for layer in layers
    ]


def assert_matches(criterion, queries, targets, official) -> None:
    """Our matches are the official ones, or cost as much: empty segments of no class are equal."""
    costs, original = [], criterion.matcher.cost
    criterion.matcher.cost = lambda *pair: costs.append(original(*pair)) or costs[-1]
    try:
        matches = criterion.match(queries, targets)
    finally:
        del criterion.matcher.cost
    flat = [pair for layer in matches for pair in layer]
    for ours, theirs, cost in zip(flat, [x for y in official for x in y], costs, strict=True):
        assert torch.equal(ours[0], theirs[0])
        if not torch.equal(ours[1], theirs[1]):
            least, other = (float(cost[pair].double().sum()) for pair in (ours, theirs))
            assert other == pytest.approx(least, rel=1e-6)


def losses_of(golden, case: str, batch: str):
    """The model, and its losses with the official random points and matches."""
    arrays = golden.arrays(f"{case}_loss_{batch}")
    model, outputs, targets = prepare(golden, case, batch)
    if case not in QUERY_CASES:
        return model, model.criterion(outputs.pixel_logits, targets)
    queries, criterion = outputs.queries["queries"], model.criterion
    official = official_matches(arrays, len(targets))
    if not case.startswith("mask2former"):
        assert_matches(criterion, queries, targets, official)
        return model, criterion(queries, targets, matches=official)
    with recorded_points(golden, criterion, str(arrays["rand/tag"]), len(targets), NUM_POINTS):
        assert_matches(criterion, queries, targets, official)
        return model, criterion(queries, targets, matches=official)


def recorded_points(golden, criterion, tag: str, images: int, num_points: int):
    for owner in (criterion, criterion.matcher):
        owner.masks = replace(owner.masks, num_points=num_points)

    def draw(index: int, shape: tuple[int, ...]) -> torch.Tensor:
        return golden.rules.rand_for(tag, index, shape)

    return official_points(criterion, draw, images=images, layers=10)


def assert_losses(ours: dict, official: dict[str, float]) -> None:
    """The total is near, and every loss: a rounding error can choose another uncertain point."""
    total = sum(official.values())
    assert set(ours) == set(official)
    assert float(sum(ours.values()).detach()) == pytest.approx(total, rel=1e-4)
    near = [float(ours[k].detach()) == pytest.approx(v, rel=1e-4) for k, v in official.items()]
    assert sum(near) >= 0.9 * len(near)
    for name, value in official.items():
        assert float(ours[name].detach()) == pytest.approx(value, rel=1e-3, abs=1e-6), name


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("case", CASES)
def test_losses_and_matches(golden, case, batch):
    if case not in QUERY_CASES and batch != "batch":
        pytest.skip("recorded for the batch alone")
    arrays = golden.arrays(f"{case}_loss_{batch}")
    _, losses = losses_of(golden, case, batch)
    losses_recorded = {k[5:]: float(v) for k, v in arrays.items() if k.startswith("loss/loss_")}
    assert_losses(losses, losses_recorded)


@pytest.mark.parametrize("case", CASES)
def test_gradients(golden, case):
    arrays = golden.arrays(f"{case}_loss_batch")
    model, losses = losses_of(golden, case, "batch")
    sum(losses.values()).backward()
    names = golden.official_names(case)
    ours = {names[name]: p.grad for name, p in model.named_parameters()}
    model.zero_grad()
    total, square = float(arrays["grad/total"]), 0.0
    for name, official in zip(arrays["grad/names"].tolist(), arrays["grad/norms"], strict=True):
        norm = float(ours[name].double().norm())
        square += norm**2
        assert norm == pytest.approx(official, rel=5e-3, abs=1e-3 * total), name
    assert square**0.5 == pytest.approx(total, rel=5e-3)


def test_official_number_of_points(golden):
    """The authors' 12,544 points, with matches of our own."""
    case = "mask2former_r50_panoptic"
    official = golden.json("losses_m2f_all")[f"{case}/official_12544_points"]
    model, outputs, targets = prepare(golden, case, "batch")
    tag = f"{golden.variant}:{case}:official"
    with recorded_points(golden, model.criterion, tag, len(targets), num_points=12544):
        losses = model.criterion(outputs.queries["queries"], targets)
    official.pop("TOTAL")
    assert_losses(losses, official)


@pytest.mark.parametrize("case", ["maskformer_r50_panoptic", "mask2former_r50_panoptic"])
def test_two_processes(golden, case):
    """Losses of masks are divided by the mean number of segments; those of classes stay."""
    official = golden.json(f"{case}_losses_2ranks")
    runs = {rank: prepare(golden, case, rank) for rank in RANKS}
    mean = sum(len(targets[0]) for _, _, targets in runs.values()) / len(runs)
    for rank, (model, outputs, targets) in runs.items():
        points = nullcontext()
        if case.startswith("mask2former"):
            tag = f"{golden.variant}:{case}:{rank}"
            points = recorded_points(golden, model.criterion, tag, 1, NUM_POINTS)
        with points:
            losses = model.criterion(outputs.queries["queries"], targets, num_segments=mean)
        recorded = {k: v for k, v in official[rank].items() if k.startswith("loss_")}
        assert_losses(losses, recorded)
