"""The plain formulation computes what our model does, and nothing with our forward passes."""

import pytest
import torch
from benchmarks import inference
from benchmarks.inputs import image_sample, training_sample
from benchmarks.models import build_config, build_our_model
from benchmarks.plain_model import PlainPanopticSegFormer
from benchmarks.plain_training import PlainStep, PlainTraining
from benchmarks.same_result import difference
from tiny_benchmarks import tiny_options

SIZE = (96, 128)


@pytest.fixture(scope="module")
def cfg():
    return build_config(tiny_options(inference))


@pytest.fixture
def model(cfg):
    return build_our_model(cfg, image_sample(SIZE, SIZE))


def batch(layout) -> list[dict]:
    """Two images of different sizes, so that one is padded."""
    return [
        training_sample(96, 128, things=4, stuff=3, layout=layout, seed=0),
        training_sample(80, 112, things=2, stuff=4, layout=layout, seed=1),
    ]


@pytest.mark.parametrize("output", [SIZE, (61, 90)])
def test_same_segments(model, output):
    samples = [image_sample(SIZE, output), image_sample((80, 112), output, seed=1)]
    plain = PlainPanopticSegFormer(model).eval()(samples)
    with torch.no_grad():
        ours = model.eval()(samples)
    for found, expected in zip(ours, plain, strict=True):
        assert len(expected["panoptic_seg"][1]) > 1
        result = difference(found["panoptic_seg"], expected["panoptic_seg"])
        assert result["same segments"]
        assert result["differing pixels"] < 1e-3
        scores = [[x["score"] for x in y["panoptic_seg"][1]] for y in (found, expected)]
        assert scores[0] == pytest.approx(scores[1], rel=1e-4)


def test_same_losses_and_gradients(model):
    samples = batch(model.class_layout)
    plain = PlainPanopticSegFormer(model).train()
    ours, expected = model.train()(samples), PlainTraining(plain).losses(samples)
    assert {k: v.item() for k, v in ours.items()} == pytest.approx(
        {k: v.item() for k, v in expected.items()}, rel=1e-4
    )
    sum(ours.values()).backward()
    sum(expected.values()).backward()
    theirs = dict(plain.weights.named_parameters())
    for name, parameter in model.named_parameters():
        if parameter.grad is None:
            assert theirs[name].grad is None, name
            continue
        scale = theirs[name].grad.abs().max().clamp(min=1e-6)
        assert (parameter.grad - theirs[name].grad).abs().max() < 5e-3 * scale, name


def test_nothing_of_ours_makes_it_fast(model):
    plain = PlainPanopticSegFormer(model).eval()
    kept = (plain.weights.normalizer, plain.weights.pixel_decoder.position)

    def refuse(*args, **kwargs):
        raise AssertionError("our own forward pass was called")

    for module in plain.weights.modules():
        if type(module).__module__.startswith("d2_psformer") and module not in kept:
            module.forward = refuse
    assert plain([image_sample(SIZE, SIZE)])[0]["panoptic_seg"][1]


def test_a_step_changes_the_weights(cfg, model):
    plain = PlainPanopticSegFormer(model).train()
    step = PlainStep(PlainTraining(plain), cfg)
    before = plain.weights.location_decoder.query_embed.weight.clone()
    losses = step(batch(model.class_layout)[:1])
    assert all(value >= 0 for value in losses.values())
    assert not torch.equal(before, plain.weights.location_decoder.query_embed.weight)
    assert torch.equal(before, model.location_decoder.query_embed.weight)  # it has its own


def test_other_backbones_are_refused(cfg):
    from d2_psformer.d2.modeling import build_model

    changed = cfg.clone()
    changed.MODEL.BACKBONE.TIMM_NAME = "swin_tiny_patch4_window7_224"
    with pytest.raises(ValueError, match="to a ResNet"):
        PlainPanopticSegFormer(build_model(changed))
