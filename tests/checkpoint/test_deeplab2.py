"""Checkpoints of deeplab2's MaX-DeepLab.

The folder deeplab2 has the indices of checkpoints that deeplab2 wrote, with a name and a shape of
every variable, but without their numbers.
"""

import gzip
import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from d2_psformer.checkpoint import convert, read_checkpoint, tensorflow
from d2_psformer.d2.modeling import META_ARCH_REGISTRY
from d2_psformer.engine import load_config
from d2_psformer.engine.optimizer import parameter_groups
from d2_psformer.utils.errors import UserError

FOLDER = Path(__file__).parent / "deeplab2"
CONFIGS = {"S": "coco/max_deeplab_S_641", "L": "coco/max_deeplab_L_1025"}
# Beginning of an attribute path: that of the variable's name.
ROOTS = {
    "semantic_decoder/": "MaXDeepLab/auxiliary_semantic_decoder/",
    "semantic_head_without_last_layer/": "MaXDeepLab/auxiliary_semantic_head/conv_block/",
    "semantic_last_layer/": "MaXDeepLab/auxiliary_semantic_head/final_conv/",
    "transformer_": "MaXDeepLab/transformer_",
    "pixel_space_": "MaXDeepLab/pixel_space_",
}


def shape_alone(entry, *_) -> torch.Tensor:
    return torch.empty(tensorflow._shape(entry), device="meta")


@pytest.fixture(scope="module", params=CONFIGS)
def variant(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def variables(variant, tmp_path_factory) -> dict[str, torch.Tensor]:
    """All variables of a checkpoint by attribute path."""
    path = tmp_path_factory.mktemp(variant) / "ckpt.index"
    packed = FOLDER / f"max_deeplab_{variant.lower()}.index.gz"
    path.write_bytes(gzip.decompress(packed.read_bytes()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensorflow, "_tensor", shape_alone)
        return read_checkpoint(str(path))["model"]


@pytest.fixture
def model(variant) -> torch.nn.Module:
    cfg = load_config(CONFIGS[variant])
    with torch.device("meta"):
        return META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE)(cfg)


@pytest.fixture
def official(variant, reference_max_deeplab) -> dict[str, dict]:
    """What the reference says of the variables, by name; of L there is the encoder alone."""
    part = {"S": "s", "L": "l_encoder"}[variant]
    text = (reference_max_deeplab / f"max_deeplab_{part}_variables.json").read_text()
    return {entry["name"]: entry for entry in json.loads(text)["variables"]}


def names_of(variables, variant: str) -> dict[str, str]:
    """Attribute path -> name of the variable, of all that are no settings of optimizers."""
    roots = {**ROOTS, "encoder/": f"max_deeplab_{variant.lower()}/"}
    names = {}
    for path in variables:
        if root := next((root for root in roots if path.startswith(root)), None):
            names[path] = roots[root] + path.removeprefix(root).replace("/_", "/").lstrip("_")
    return names


def without_prefix(name: str) -> str:
    return name.removeprefix("DeepLab/")


def our_name(path: str, value: torch.Tensor) -> str:
    return next(iter(convert({path: value}, "deeplab2")))


def test_every_variable_has_its_place_and_every_place_a_variable(variables, model):
    found = {name: value.shape for name, value in convert(variables, "deeplab2").items()}
    assert found == {name: value.shape for name, value in model.state_dict().items()}


def test_golden_names(variables, variant, official):
    """The checkpoint has the variables of the reference, no more and no fewer."""
    names = names_of(variables, variant)
    is_listed = "encoder/" if variant == "L" else ""
    found = {name: list(variables[path].shape) for path, name in names.items() if is_listed in path}
    assert found == {without_prefix(name): entry["shape"] for name, entry in official.items()}


def test_golden_rates(variables, variant, model, official):
    """Those variables learn at a tenth of the rate that do so in deeplab2."""
    solver = load_config(CONFIGS[variant]).SOLVER
    rates = {
        name: group["lr"] / solver.BASE_LR
        for group in parameter_groups(model, solver)
        for name in group["param_names"]
    }
    listed = {without_prefix(name): entry for name, entry in official.items()}
    for path, name in names_of(variables, variant).items():
        if name in listed and listed[name]["trainable"]:
            expected = 0.1 if listed[name]["backbone_lr"] else 1.0
            assert rates[our_name(path, variables[path])] == pytest.approx(expected), path


@pytest.mark.parametrize("variant", ["S"], indirect=True)
def test_golden_outputs_of_converted_weights(
    variables, variant, model, official, reference_max_deeplab
):
    """The whole MaX-DeepLab-S of the COCO config, on one image."""
    golden = np.load(reference_max_deeplab / "max_deeplab_s_real_width.npz")
    salt = json.loads(str(golden["config"]))["salt"]
    tensor_for = runpy.run_path(str(reference_max_deeplab / "weights.py"))["tensor_for"]
    full_names = {without_prefix(name): name for name in official}
    weights = {
        path: torch.from_numpy(tensor_for(full_names[name], variables[path].shape, salt))
        for path, name in names_of(variables, variant).items()
    }
    model.eval().load_state_dict(convert(weights, "deeplab2"), assign=True)
    image = torch.from_numpy(golden["image"]).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        features = model.backbone(image)
        masks, pixels = model.mask_head(features["panoptic"], features["mask_memory"])
        found = {
            "out/pixel_space_mask_logits": masks.permute(0, 2, 3, 1),
            "out/transformer_class_logits": model.class_head(features["class_memory"]),
            # void is the first channel there
            "out2/semantic_logits": model.semantic_head(features).roll(1, 1).permute(0, 2, 3, 1),
            "out2/pixel_space_normalized_feature": pixels.permute(0, 2, 3, 1),
        }
    for name, value in found.items():
        every = 2 if name.startswith("out2/") else 1
        expected = golden[name]
        error = np.abs(value[..., ::every].numpy() - expected).max() / np.abs(expected).max()
        assert error < 1e-3, name


def test_an_imagenet_model_is_the_backbone_alone():
    path = "_stage4/_block2/_attention/_width_axis/qkv_kernel"
    weights = {f"backbone/_encoder/{path}": torch.ones(3, 7), "head/kernel": torch.ones(3, 5)}
    converted = convert(weights, "deeplab2")
    assert {name: tuple(value.shape) for name, value in converted.items()} == {
        "backbone.stages.stage4.blocks.1.branch.attention.width.qkv.conv.weight": (7, 3, 1, 1)
    }


def test_void_is_put_last():
    order = {"semantic_last_layer/bias": torch.tensor([9.0, 1.0, 2.0])}
    assert convert(order, "deeplab2")["semantic_head.head.last.bias"].tolist() == [1, 2, 9]


@pytest.mark.parametrize(
    "path",
    [
        "decoder/_conv/kernel",
        "encoder/_stage4/_block2/_conv9_bn/_conv/kernel",
        "encoder/_stage4/_block2/_conv1_bn_act/_squeeze/kernel",
        "encoder/_neck/kernel",
        "semantic_decoder/_aspp/_other/_conv/kernel",
    ],
)
def test_variables_that_nobody_knows_are_named(path):
    with pytest.raises(UserError, match=f"'{path}' is no parameter of an official MaX-DeepLab"):
        convert({path: torch.ones(1, 1, 2, 2)}, "deeplab2")


def test_shapes_that_no_layer_has_are_named():
    for path, shape in (("encoder/_stem/_conv/kernel", (1,) * 5), ("encoder/_memory_feature", ())):
        with pytest.raises(UserError, match=f"'{path}' has the shape"):
            convert({path: torch.ones(shape)}, "deeplab2")
