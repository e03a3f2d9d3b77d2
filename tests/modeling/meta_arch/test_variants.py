"""What every architecture and variant must do: learn, save, load, give valid results."""

import copy

import pytest
import torch
import torch.nn.functional as F
from small_models import (
    EVERY_RESULT,
    INFERENCE,
    LAST_MASKS,
    MASK2FORMER,
    MASKFORMER,
    MAX_DEEPLAB,
    SEMANTIC_ALONE,
    VARIANTS,
    VERSION_1,
    check_results,
    every_result,
    image,
    infer,
    sample,
    tiny_model,
)

# ---------------------------------------------------------------- training

# Their losses depend on random points.
DRAWN = ("mask2former", "eomt", "eomt, rotary positions")

BATCHES = {
    "both kinds": [[0, 1, 3, 4]],
    "no things": [[3, 4]],
    "no stuff": [[0, 2, 2]],
    "nothing": [[]],
    "one image of each": [[0, 3], [3], [1], []],
    "more segments than queries": [[0, 1, 2] * 5 + [3]],
}


@pytest.mark.parametrize("name", VARIANTS)
def test_losses_are_finite_and_every_parameter_gets_a_gradient(name):
    """A parameter without a gradient would stop distributed training."""
    model = tiny_model(filled=False, **VARIANTS[name])
    sizes = [(64, 96), (50, 61), (33, 80), (64, 64)]
    for kind, classes in BATCHES.items():
        model.zero_grad()
        batch = [sample(*size, c) for size, c in zip(sizes, classes, strict=False)]
        losses = model(batch)
        assert all(x.dim() == 0 and torch.isfinite(x) and x >= 0 for x in losses.values()), kind
        sum(losses.values()).backward()
        for parameter_name, parameter in model.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None, (kind, parameter_name)
                assert torch.isfinite(parameter.grad).all(), (kind, parameter_name)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_parameter_matters(name):
    """With weights that leave no signal at zero, no gradient is zero."""
    model = tiny_model(**VARIANTS[name])
    batch = [sample(64, 96, [0, 1, 2, 3, 4]), sample(96, 64, [2, 1, 4], seed=3)]
    sum(model(batch).values()).backward()
    idle = {n for n, p in model.named_parameters() if p.requires_grad and not p.grad.any()}
    assert not idle


@pytest.mark.parametrize("name", VARIANTS)
def test_learns_one_image(name):
    """A few steps on one image lower the loss: signs and gradients are right."""
    torch.manual_seed(1)
    model = tiny_model(filled=False, **VARIANTS[name])
    batch = [sample(64, 64, [0, 1, 3, 4])]
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    totals = []
    for _ in range(16):
        loss = sum(model(batch).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        totals.append(loss.item())
    assert totals[-1] < 0.9 * totals[0]


@pytest.mark.parametrize("name", [name for name in VARIANTS if name not in DRAWN])
def test_a_batch_weighs_its_images_as_two_processes_would(name):
    """With the same counts of both kinds, the loss of a batch is the mean of the images' losses."""
    model = tiny_model(**VARIANTS[name])
    first, second = sample(64, 64, [0, 1, 3]), sample(64, 64, [2, 0, 4], seed=5)
    with torch.no_grad():
        together = model([first, second])
        alone = [model([first]), model([second])]
    for loss, value in together.items():
        mean = (alone[0][loss] + alone[1][loss]) / 2
        torch.testing.assert_close(value, mean, rtol=1e-4, atol=1e-5, msg=loss)


@pytest.mark.parametrize("name", VARIANTS)
def test_images_without_segments_have_finite_losses_and_gradients(name):
    model = tiny_model(**VARIANTS[name])
    losses = model([sample(64, 64, []), sample(40, 64, [])])
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def names(*kinds_and_counts: tuple[str, int]) -> set[str]:
    """Of losses: the last layer has the plain name."""
    return {
        kind + ("" if i == count - 1 else f"_{i}")
        for kind, count in kinds_and_counts
        for i in range(count)
    }


LOCATED = names(("thing_loss_ce", 2), ("thing_loss_bbox", 2), ("thing_loss_giou", 2))
JOINT_NAMES = LOCATED | names(("thing_loss_dice", 3))
VERSION_1_NAMES = names(("loss_ce", 2), ("loss_bbox", 2))
NAMES = {
    "decoupled": JOINT_NAMES | names(("stuff_loss_ce", 2), ("stuff_loss_dice", 3)),
    "joint": JOINT_NAMES,
    "version 1": VERSION_1_NAMES | names(("loss_dice", 3)),
    "last masks alone": LOCATED
    | names(("thing_loss_dice", 1), ("stuff_loss_ce", 2), ("stuff_loss_dice", 1)),
    "version 1, last masks alone": VERSION_1_NAMES | {"loss_dice"},
    "maskformer": names(("loss_ce", 2), ("loss_mask", 2), ("loss_dice", 2)),
    "maskformer, last layer alone": {"loss_ce", "loss_mask", "loss_dice"},
    "mask2former": names(("loss_ce", 5), ("loss_mask", 5), ("loss_dice", 5)),
    "max-deeplab": {
        "loss_pq_class",
        "loss_pq_mask",
        "loss_mask_id",
        "loss_instance",
        "loss_semantic",
    },
    "per pixel": {"loss_sem_seg"},
    "per pixel plus": names(("loss_sem_seg", 2)),
}


@pytest.mark.parametrize("name", ["per pixel", "per pixel plus"])
def test_pixels_of_another_stride(name):
    """The finest feature says how far the logits are enlarged, for the loss and for the result."""
    features = {"MODEL.PIXEL_DECODER.IN_FEATURES": ["res3", "res4", "res5"]}
    model = tiny_model(**VARIANTS[name] | features)
    truth = sample(64, 96, [0, 3])
    logits = model.predict(model.normalizer([truth["image"]]).tensor).pixel_logits[-1]
    enlarged = F.interpolate(logits, (64, 96), mode="bilinear")
    classes = 3 * truth["instances"].gt_masks.tensor[1][None].long()
    torch.testing.assert_close(model([truth])["loss_sem_seg"], F.cross_entropy(enlarged, classes))
    (results,) = infer(model, {"image": truth["image"]})
    assert results["sem_seg"].shape == (5, 64, 96)


def test_the_last_layer_of_a_baseline_alone():
    model = tiny_model(filled=False, **VARIANTS["per pixel plus"], **LAST_MASKS)
    assert set(model([sample(64, 64, [0, 3])])) == {"loss_sem_seg"}


@pytest.mark.parametrize("name", NAMES)
def test_names_of_the_losses(name):
    model = tiny_model(filled=False, **VARIANTS[name])
    assert set(model([sample(64, 64, [0, 3])])) == NAMES[name]


# ---------------------------------------------------------------- inference


@pytest.mark.parametrize("name", VARIANTS | INFERENCE)
def test_results_of_a_batch_are_valid_and_those_of_its_images(name):
    model = tiny_model(**every_result(name))
    inputs = [{"image": image(64, 96, seed=i)} for i in range(2)]
    together = infer(model, *inputs)
    if name not in SEMANTIC_ALONE:
        assert any(output["panoptic_seg"][1] for output in together), "nothing was proved"
    for one, output in zip(inputs, together, strict=True):
        check_results(output, (64, 96))
        (alone,) = infer(model, one)
        torch.testing.assert_close(alone["sem_seg"], output["sem_seg"], rtol=1e-3, atol=1e-4)
        if name not in SEMANTIC_ALONE:
            differ = alone["panoptic_seg"][0] != output["panoptic_seg"][0]
            assert differ.float().mean() < 1e-3
    for output, size in zip(
        infer(model, *({"image": image(*size)} for size in [(64, 96), (50, 61)])),
        [(64, 96), (50, 61)],
        strict=True,
    ):
        check_results(output, size)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_saved_model_loads_and_gives_the_same(name, tmp_path):
    options = every_result(name)
    model = tiny_model(**options)
    torch.save(model.state_dict(), tmp_path / "model.pth")
    torch.manual_seed(7)
    again = tiny_model(filled=False, **options)
    again.load_state_dict(torch.load(tmp_path / "model.pth", weights_only=True))
    inputs = {"image": image(64, 64)}
    (first,), (second,), (third,) = (infer(m, inputs) for m in (model, again, copy.deepcopy(again)))
    for other in (second, third):
        assert torch.equal(first["sem_seg"], other["sem_seg"])
        if "panoptic_seg" in first:
            assert torch.equal(first["panoptic_seg"][0], other["panoptic_seg"][0])


@pytest.mark.parametrize(
    "options",
    [{}, VERSION_1, MASKFORMER, MASK2FORMER, MAX_DEEPLAB],
    ids=["decoupled", "version 1", "maskformer", "mask2former", "max-deeplab"],
)
@pytest.mark.parametrize(
    ("things", "stuff"), [((0, 1, 2), ()), ((), (0, 1)), ((3, 4), (0, 1, 2)), ((1, 3), (0, 2))]
)
def test_any_layout_of_classes(options, things, stuff):
    """Things alone, stuff alone, things last as in Cityscapes, or interleaved."""
    model = tiny_model(things, stuff, **options, **EVERY_RESULT)
    losses = model([sample(64, 64, [*things, *stuff]), sample(64, 64, [])])
    sum(losses.values()).backward()
    assert all(torch.isfinite(x) for x in losses.values())
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    (output,) = infer(model, {"image": image(64, 64)})
    check_results(output, (64, 64), things, len(things) + len(stuff))
    assert output["panoptic_seg"][1]
