"""What all architectures share: Detectron2's dicts in, results out; export and compilation."""

from functools import partial

import pytest
import torch
from small_models import (
    EVERY_ARCHITECTURE,
    EVERY_RESULT,
    VARIANTS,
    VERSION_1,
    check_results,
    fill_by_rule,
    image,
    infer,
    sample,
    small_model,
    tiny_model,
)
from torch import nn

from d2_psformer.modeling.meta_arch.segmenter import config_node
from d2_psformer.utils.errors import UserError

BOTH = pytest.mark.parametrize("options", [{}, VERSION_1], ids=["decoupled", "version 1"])
ARCHITECTURES = pytest.mark.parametrize(
    "options",
    [VARIANTS[name] for name in EVERY_ARCHITECTURE],
    ids=EVERY_ARCHITECTURE,
)
# The many layers of MaX-DeepLab take half a minute to trace.
TRACED = pytest.mark.parametrize(
    "options",
    [
        pytest.param(VARIANTS[name], id=name, marks=[pytest.mark.slow] * (name == "max-deeplab"))
        for name in EVERY_ARCHITECTURE
    ],
)


@pytest.fixture(scope="module")
def trained():
    """In evaluation mode, with every kind of result."""
    return tiny_model(**EVERY_RESULT).eval()


# ---------------------------------------------------------------- ground truth


def test_targets_know_class_maps_and_the_padding_of_the_mapper(trained):
    inputs = [sample(40, 64, [0, 3]), sample(48, 50, [1])]
    inputs[0]["sem_seg"] = torch.randint(5, (40, 64))
    inputs[0]["padding_mask"] = torch.zeros(40, 64, dtype=torch.bool)
    inputs[0]["padding_mask"][30:] = True
    images = trained.normalizer([x["image"] for x in inputs], [inputs[0]["padding_mask"], None])
    given, painted = trained.targets(inputs, images)
    assert given.image_size == (30, 64) and painted.image_size == (48, 50)
    assert given.masks.shape[1:] == given.semantic.shape == painted.semantic.shape == (48, 64)
    assert torch.equal(given.semantic[:40], inputs[0]["sem_seg"])
    assert painted.semantic.unique().tolist() == [1, 255]


# ---------------------------------------------------------------- sizes and kinds of results


@pytest.mark.parametrize("size", [(64, 96), (37, 51), (130, 40)])
def test_results_at_the_original_size(trained, size):
    (output,) = infer(trained, {"image": image(64, 96), "height": size[0], "width": size[1]})
    check_results(output, size)
    assert output["panoptic_seg"][1], "weights by rule should give some segment"


def test_the_size_of_the_image_is_the_default(trained):
    (output,) = infer(trained, {"image": image(50, 70)})
    check_results(output, (50, 70))


def test_batches_of_any_sizes(trained):
    sizes = [(64, 96), (50, 61), (33, 80)]
    outputs = infer(trained, *({"image": image(*size, seed=i)} for i, size in enumerate(sizes)))
    for output, size in zip(outputs, sizes, strict=True):
        check_results(output, size)


def test_a_backbone_that_needs_a_multiple_of_32():
    options = EVERY_RESULT | {"MODEL.BACKBONE.TIMM_NAME": "convnext_atto"}
    (output,) = infer(fill_by_rule(small_model(**options)), {"image": image(50, 70)})
    check_results(output, (50, 70))


def test_kinds_of_result_are_switchable():
    node = "MODEL.POSTPROCESSING"
    model = tiny_model(**{f"{node}.PANOPTIC_ON": False, f"{node}.SEMANTIC_ON": True})
    (output,) = infer(model, {"image": image(40, 40)})
    assert set(output) == {"sem_seg"}


def test_results_are_deterministic(trained):
    first, second = (infer(trained, {"image": image(64, 96)})[0] for _ in range(2))
    assert torch.equal(first["panoptic_seg"][0], second["panoptic_seg"][0])


# ---------------------------------------------------------------- types


def agreement(output: dict, other: dict) -> float:
    """Share of pixels with the same category."""
    maps = []
    for id_map, segments_info in (output["panoptic_seg"], other["panoptic_seg"]):
        categories = torch.tensor([-1, *(s["category_id"] for s in segments_info)])
        maps.append(categories[id_map.long()])
    return (maps[0] == maps[1]).float().mean().item()


def test_half_precision_in_inference():
    inputs = {"image": image(64, 96)}
    (expected,) = infer(tiny_model(), inputs)
    assert expected["panoptic_seg"][1]
    (found,) = infer(tiny_model(**{"MODEL.AUTOCAST": "bfloat16"}), inputs)
    assert agreement(found, expected) > 0.9


def test_half_precision_of_inference_does_not_reach_training():
    model = tiny_model(**{"MODEL.AUTOCAST": "bfloat16"})
    seen = []
    model.pixel_decoder.register_forward_hook(lambda *args: seen.append(args[2].tokens.dtype))
    model.train()([sample(64, 96, [0, 3])])
    infer(model, {"image": image(64, 96)})
    assert seen[0] == torch.float32


@pytest.mark.parametrize("name", ["auto", "float32"])
def test_a_model_is_built_for_float32_by_default(name):
    assert tiny_model(**{"MODEL.AUTOCAST": name}).autocast is None


@BOTH
def test_mixed_precision_gives_nearly_the_same_losses(options):
    model = tiny_model(**options)
    batch = [sample(64, 96, [0, 1, 3])]
    expected = model(batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = model(batch)
    sum(losses.values()).backward()
    for name, loss in losses.items():
        assert loss.dtype == torch.float32, name
        assert loss.item() == pytest.approx(expected[name].item(), rel=0.1, abs=0.05), name


# ---------------------------------------------------------------- predict: shapes, export, compile


def shapes(outputs) -> dict:
    return {"pixels": [x.shape for x in outputs.pixel_logits]} | {
        name: [
            [tuple(x.shape) for x in (*queries.logits, *queries.masks, *queries.boxes)],
            None if queries.classes is None else tuple(queries.classes.shape),
        ]
        for name, queries in outputs.queries.items()
    }


@ARCHITECTURES
@torch.no_grad()
def test_shapes_do_not_depend_on_the_data(options):
    model = tiny_model(**options).eval()
    padding = torch.zeros(2, 64, 96, dtype=torch.bool)
    padding[1, 40:] = True
    inputs = torch.zeros(2, 3, 64, 96), torch.randn(2, 3, 64, 96), 100 * torch.randn(2, 3, 64, 96)
    found = [shapes(model.predict(pixels, mask)) for pixels in inputs for mask in (None, padding)]
    assert all(one == found[0] for one in found)


class Predict(nn.Module):
    """``predict`` of a segmenter as the forward pass of a module."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, images, padding=None):
        return self.model.predict(images, padding)


def assert_same_outputs(found, expected) -> None:
    assert found.queries.keys() == expected.queries.keys()
    torch.testing.assert_close(found.pixel_logits, expected.pixel_logits, rtol=1e-4, atol=1e-4)
    for name, queries in expected.queries.items():
        ours = found.queries[name]
        if queries.classes is not None:
            assert torch.equal(ours.classes, queries.classes)
        torch.testing.assert_close(ours.logits, queries.logits, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(ours.masks, queries.masks, rtol=1e-4, atol=1e-4)


@TRACED
@pytest.mark.parametrize("padded", [False, True])
@torch.no_grad()
def test_predict_can_be_exported(options, padded):
    module = Predict(tiny_model(**options).eval())
    padding = torch.zeros(1, 64, 96, dtype=torch.bool)
    padding[:, 48:] = True
    inputs = (torch.randn(1, 3, 64, 96), padding) if padded else (torch.randn(1, 3, 64, 96),)
    exported = torch.export.export(module, inputs, strict=False).module()
    assert_same_outputs(exported(*inputs), module(*inputs))
    other = (torch.randn(1, 3, 64, 96), *inputs[1:])
    assert_same_outputs(exported(*other), module(*other))


@TRACED
@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.slow)])
@torch.no_grad()
def test_predict_can_be_compiled_as_one_graph(options, backend):
    module = Predict(tiny_model(**options).eval())
    compiled = torch.compile(module, fullgraph=True, backend=backend)
    pixels = torch.randn(1, 3, 64, 96)
    assert_same_outputs(compiled(pixels), module(pixels))
    torch.compiler.reset()


@pytest.fixture
def traced_only(monkeypatch):
    """Compilation that traces, and fails on a break, but runs the graphs as they are."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    yield
    torch.compiler.reset()


def seeded_losses(model, batch: list[dict]) -> dict:
    """Losses whose random points are the same at every call."""
    torch.manual_seed(0)
    return model(batch)


@TRACED
def test_parts_compile_without_breaks(traced_only, options):
    plain, compiled = tiny_model(**options), tiny_model(**options)
    compiled.compile_parts()
    inputs = {"image": image(64, 96)}
    found, expected = infer(compiled, inputs)[0], infer(plain, inputs)[0]
    if "panoptic_seg" in expected:
        assert agreement(found, expected) > 0.999
    else:
        torch.testing.assert_close(found["sem_seg"], expected["sem_seg"], rtol=1e-4, atol=1e-4)
    batch = [sample(64, 96, [0, 1, 3, 4])]
    losses = [seeded_losses(model.train(), batch) for model in (compiled, plain)]
    torch.testing.assert_close(*losses, rtol=1e-4, atol=1e-5)
    sum(losses[0].values()).backward()
    assert all(p.grad is not None for p in compiled.parameters() if p.requires_grad)


# ---------------------------------------------------------------- names of config nodes


def test_the_node_of_the_config_is_named():
    with pytest.raises(UserError, match=r"^MODEL\.X: heads is 3\.$"), config_node("MODEL.X"):
        raise UserError("heads is 3.")


def test_a_key_that_is_named_already_is_not_named_again():
    with pytest.raises(UserError, match=r"^MODEL\.X\.Y is 3\.$"), config_node("MODEL.X"):
        raise UserError("MODEL.X.Y is 3.")


def test_other_errors_are_left_alone():
    with pytest.raises(KeyError), config_node("MODEL.X"):
        raise KeyError("y")
