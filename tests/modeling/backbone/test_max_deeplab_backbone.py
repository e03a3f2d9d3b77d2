"""The shapes of MaX-DeepLab's networks, and what each path of attention carries."""

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from d2_psformer.modeling.backbone import MaXDeepLabBackbone
from d2_psformer.modeling.backbone.dual_path import DualPathLayer
from d2_psformer.modeling.backbone.max_deeplab_network import Network
from d2_psformer.utils.errors import UserError

SMALL = Network(
    stem_width=0.125,
    width=0.0625,
    transformer_width=16,
    memory_dim=12,
    heads=2,
    dim_feedforward=16,
)


def backbone(**options) -> MaXDeepLabBackbone:
    """In evaluation mode; residual branches start from something other than zero."""
    network = dataclasses.replace(SMALL, **options)
    model = MaXDeepLabBackbone(network=network, queries=5, feature_dim=10).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.weight, 0.5)
    return model


@pytest.mark.parametrize("variant", ["S", "L"])
@pytest.mark.parametrize("stacks", [0, 1, 2])
def test_shapes_at_every_depth_of_the_decoder(variant, stacks):
    model = backbone(variant=variant, stacks=stacks)
    shapes = model.output_shape()
    x = model(torch.randn(1, 3, 33, 49))
    assert set(x) == set(shapes)
    for name, y in x.items():
        assert y.shape[-1 if "memory" in name else 1] == shapes[name].channels
        assert (y >= 0).all(), "it ends in a ReLU"
        if "memory" in name:
            assert y.shape == (1, 5, 10)
        else:
            assert y.shape[2:] == (32 // shapes[name].stride + 1, 48 // shapes[name].stride + 1)
    fine = [stage.name for stage in model.plan if stage.fused and stage.stride == 4]
    assert len(fine) == stacks + 1


@pytest.mark.parametrize("stages", [(5,), (4, 5), (3, 4, 5), ()])
def test_dual_path_layers_follow_the_blocks_of_the_given_stages(stages):
    model = backbone(variant="L", stacks=1, transformer_stages=stages)
    for stage in model.plan[1:]:
        layers = model.stages[stage.name]
        assert len(layers.transformers) == (len(layers.blocks) if stage.level in stages else 0)
    assert model(torch.randn(1, 3, 17, 17))["panoptic"].shape[2:] == (5, 5)


def influence(paths: list[str]) -> set[str]:
    """Which path is there: "m2p" if the result for the memory depends on the pixels, and so on."""
    torch.manual_seed(0)
    layer = DualPathLayer(6, 8, 4, dim_feedforward=0, heads=2, paths=tuple(paths))
    for module in layer.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.weight, 0.5)
    pixels = torch.randn(1, 6, 3, 4, requires_grad=True)
    memory = torch.rand(1, 8, 5, 1, requires_grad=True)
    new_pixels, new_memory = layer.eval()(pixels, memory)

    def reads(result: Tensor, source: Tensor, others: slice) -> bool:
        options = {"retain_graph": True, "materialize_grads": True, "allow_unused": True}
        (gradient,) = torch.autograd.grad(result.sum(), source, **options)
        return bool(gradient[:, :, others].any())

    found = {
        "p2m": reads(new_pixels, memory, slice(None)),
        "m2p": reads(new_memory, pixels, slice(None)),
        "m2m": reads(new_memory[:, :, 0], memory, slice(1, None)),
    }
    return {path for path, there in found.items() if there}


@pytest.mark.parametrize(
    "paths", ["p2m", "m2p", "m2m", "p2m m2p", "p2m m2m", "m2p m2m", "p2m m2p m2m"]
)
def test_each_path_carries_what_it_names_and_no_more(paths):
    assert influence(paths.split()) == set(paths.split())


def test_without_any_path_the_memory_stays_as_learned():
    model = backbone(paths=())
    assert not any(isinstance(m, DualPathLayer) for m in model.modules())
    assert not any("attention" in name for name in model.state_dict())
    x = model(torch.randn(2, 3, 17, 17))
    assert torch.equal(x["class_memory"][0], x["class_memory"][1])


def test_drop_path_drops_whole_branches_of_samples():
    torch.manual_seed(0)
    model = backbone(drop_path=0.9).train()
    block = model.stages["stage5"].blocks[-1]
    x = torch.randn(64, 128, 2, 2)
    dropped = (block(x) == x.relu()).flatten(1).all(1)
    assert 0.7 < dropped.float().mean() < 1
    assert not (block.eval()(x) == x.relu()).flatten(1).all(1).any()


@torch.no_grad()
def test_sides_that_axial_attention_does_not_reach():
    longest = torch.zeros(1, 3, 1, 4065)
    assert backbone()(longest)["panoptic"].shape[2:] == (1, 1017)
    too_long = torch.zeros(1, 3, 1, 4081)
    with pytest.raises(UserError, match=r"1x4081 pixels, .* 4065 pixels .* INPUT.MIN_SIZE_TEST"):
        backbone()(too_long)
    assert backbone(paths=("p2m", "m2p"))(too_long)["panoptic"].shape[2:] == (1, 1021)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "M"}, "MAX_DEEPLAB.VARIANT is 'M': use one of 'S', 'L'"),
        ({"stacks": -1}, "MAX_DEEPLAB.DECODER_STACKS is -1: it must be at least 0"),
        ({"paths": ("p2p", "p2q")}, "MAX_DEEPLAB.ATTENTION_PATHS is 'p2q': use one of 'p2p', "),
        ({"transformer_stages": (6,)}, "MAX_DEEPLAB.TRANSFORMER_STAGES is 6: use one of 2, "),
        ({"drop_path": 1.0}, "BACKBONE.DROP_PATH is 1.0: it must be at least 0 and below 1"),
        ({"heads": 3}, "MAX_DEEPLAB.WIDTH gives the keys .* 16 channels: .*HEADS, which is 3"),
        (
            {"transformer_width": 1},
            "MAX_DEEPLAB.TRANSFORMER_WIDTH gives the keys .* 1 channels: .*HEADS, which is 2",
        ),
        (
            {"transformer_width": 0},
            "MAX_DEEPLAB.TRANSFORMER_WIDTH gives the keys .* 0 channels: .*HEADS, which is 2",
        ),
        ({"transformer_stages": (1,)}, "TRANSFORMER_STAGES is 1: use one of 2, 3, 4, 5"),
        ({"width": 0.0}, r"^MODEL.MAX_DEEPLAB.WIDTH is 0.0: it must be at least 0.015625"),
        ({"stem_width": -1.0}, r"^MODEL.MAX_DEEPLAB.STEM_WIDTH is -1.0: it must be at least"),
        ({"memory_dim": 0}, "^MODEL.MAX_DEEPLAB.MEMORY_DIM is 0: it must be at least 1"),
        ({"dim_feedforward": -1}, "TRANSFORMER_DECODER.DIM_FEEDFORWARD is -1: it must be at least"),
    ],
)
def test_wrong_values_are_named(options, message):
    with pytest.raises(UserError, match=message):
        backbone(**options)
