"""Any timm feature extractor as a Detectron2 backbone."""

import copy
import math

import pytest
import torch
from small_models import sample, small_config, small_model
from torch import nn

from d2_psformer.d2 import BACKEND
from d2_psformer.d2.modeling import build_backbone
from d2_psformer.d2.utils import comm
from d2_psformer.modeling.backbone import TimmBackbone
from d2_psformer.modeling.backbone.build import build_checked_backbone
from d2_psformer.utils.errors import UserError

LEVELS = ["res3", "res4", "res5"]


def backbone(name: str = "resnet10t", **options) -> TimmBackbone:
    return TimmBackbone(name=name, out_features=LEVELS, **options)


# one of each way in which timm's families differ
@pytest.mark.parametrize(
    ("name", "divisibility"),
    [
        ("resnet10t", 0),
        ("pvt_v2_b0", 0),
        ("swin_tiny_patch4_window7_224", 0),  # channels last, output norms
        ("swinv2_cr_tiny_224", 0),  # channels first
        ("efficientnet_b0", 0),  # a feature extractor of its own class
        ("convnext_atto", 32),  # rounds down
        ("mambaout_femto", 0),  # channels last, no output norms
        ("mobilevitv2_050", 64),  # patches of 2x2 in its coarsest map
        ("hrnet_w18_small", 32),  # cannot add up odd maps
        ("dla34", 32),  # its first feature is no output by default
    ],
)
def test_every_family(name, divisibility):
    model = backbone(name).eval()
    assert model.size_divisibility == divisibility
    height, width = (75, 101) if not divisibility else (64, 128)
    with torch.no_grad():
        features = model(torch.randn(1, 3, height, width))
    shapes = model.output_shape()
    assert list(features) == list(shapes) == LEVELS
    for level, stride in zip(LEVELS, (8, 16, 32), strict=True):
        assert shapes[level].stride == stride
        cells = (math.ceil(height / stride), math.ceil(width / stride))
        assert features[level].shape == (1, shapes[level].channels, *cells)


def test_only_wanted_levels_are_built():
    fine = TimmBackbone(name="resnet10t", out_features=["res2", "res3"])
    assert list(fine.output_shape()) == ["res2", "res3"]
    assert sum(p.numel() for p in fine.parameters()) < sum(
        p.numel() for p in backbone().parameters()
    )


@pytest.mark.parametrize("wanted", [LEVELS, ["res2", "res3", "res4"]])
def test_parameters_that_wanted_levels_do_not_need_are_frozen(wanted):
    """HRNet computes all strides to its end, whatever is wanted."""
    model = TimmBackbone(name="hrnet_w18_small", out_features=wanted)
    sum(y.sum() for y in model(torch.randn(1, 3, 64, 64)).values()).backward()
    parameters = model.parameters()
    assert {p.requires_grad for p in parameters} == {True, False}
    assert all(p.requires_grad == (p.grad is not None) for p in parameters)


def test_unknown_model_is_named_with_its_neighbours():
    with pytest.raises(ValueError, match=r"no model 'pvt_v3_b0'.*TIMM_NAME.*near it: pvt_v2_b0"):
        backbone("pvt_v3_b0")


def test_models_of_fixed_windows_ask_for_whole_ones():
    with torch.device("meta"):
        model = backbone("maxvit_tiny_rw_224").eval()
        assert model.size_divisibility == 224
        assert model(torch.zeros(1, 3, 224, 448))["res5"].shape[-2:] == (7, 14)


@pytest.mark.parametrize("name", ["coatnet_pico_rw_224", "inception_v3"])
def test_models_of_one_size_are_told(name):
    with pytest.raises(ValueError, match=rf"'{name}' cannot take images of any size.*TIMM_NAME"):
        backbone(name)


def test_models_without_stochastic_depth_are_told():
    with pytest.raises(ValueError, match=r"'dla34' has no stochastic depth.*DROP_PATH to 0"):
        backbone("dla34", drop_path=0.1)


def test_model_without_the_strides_is_told():
    with pytest.raises(ValueError, match=r"'vit_tiny_patch16_224' has strides .*res3, res5"):
        backbone("vit_tiny_patch16_224")


def learning(model: TimmBackbone) -> set[str]:
    """Children of the body with a parameter that learns."""
    return {n.split(".")[0] for n, p in model.body.named_parameters() if p.requires_grad}


@pytest.mark.parametrize(
    ("freeze_at", "frozen"),
    [(0, set()), (1, {"conv1", "bn1"}), (2, {"conv1", "bn1", "layer1"})],
)
def test_freeze_at_means_what_it_means_in_detectron2(freeze_at, frozen):
    everything = {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4"}
    model = backbone(freeze_at=freeze_at)
    assert learning(model) == everything - frozen


@pytest.mark.parametrize(
    ("name", "stem"),
    [("pvt_v2_b0", 1), ("swin_tiny_patch4_window7_224", 1), ("convnext_atto", 2)],
)
def test_other_families_freeze_by_stage(name, stem):
    parts = list(dict(backbone(name).body.named_children()))
    assert learning(backbone(name, freeze_at=1)) == set(parts[stem:])
    assert learning(backbone(name, freeze_at=2)) == set(parts[stem + 1 :])
    assert learning(backbone(name, freeze_at=5)) == set()


def test_stages_inside_of_a_list_freeze_too():
    """EfficientNet's stem goes up to stride 2, its stages of strides 4, 8 are the next blocks."""
    frozen = {
        freeze_at: {
            name.rpartition("blocks.")[2][0] if "blocks" in name else name.split(".")[0]
            for name, p in backbone("efficientnet_b0", freeze_at=freeze_at).body.named_parameters()
            if not p.requires_grad
        }
        for freeze_at in (1, 2, 3)
    }
    stem = {"conv_stem", "bn1", "0"}
    assert frozen == {1: stem, 2: stem | {"1"}, 3: stem | {"1", "2"}}


@pytest.mark.parametrize(
    ("name", "freeze_at", "possible"),
    [("hrnet_w18_small", 1, "3, 4, 5"), ("resnet10t", 6, "1, 2, 3, 4, 5")],
)
def test_freezing_what_cannot_be_frozen_is_told(name, freeze_at, possible):
    sentence = rf"FREEZE_AT is {freeze_at}.*{name}.*one of 0 \(nothing\), {possible}\."
    with pytest.raises(ValueError, match=sentence):
        backbone(name, freeze_at=freeze_at)


def test_nothing_is_frozen_below_1():
    assert all(p.requires_grad for p in backbone(freeze_at=-1).parameters())


@pytest.mark.parametrize("rate", [-0.5, 1.0])
def test_impossible_rates_of_stochastic_depth_are_told(rate):
    with pytest.raises(ValueError, match=rf"DROP_PATH is {rate}: it must be at least 0 and below"):
        backbone(drop_path=rate)


def statistics(model: nn.Module) -> dict[str, torch.Tensor]:
    return {n: x.clone() for n, x in model.named_buffers() if "running" in n}


def test_frozen_batch_norms_do_not_follow_the_data():
    model = backbone(norm="FrozenBN")
    before = statistics(model)
    model(torch.randn(2, 3, 64, 64))
    for name, value in statistics(model).items():
        assert torch.equal(value, before[name]), name
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms and not any(m.training for m in norms)
    assert not any(p.requires_grad for m in norms for p in m.parameters())


def test_synchronised_batch_norms_are_the_same_model(monkeypatch):
    plain = backbone(norm="SyncBN").eval()  # one process: nothing to synchronise
    assert not any(isinstance(m, nn.SyncBatchNorm) for m in plain.modules())
    monkeypatch.setattr(comm, "get_world_size", lambda: 2)
    model = backbone(norm="SyncBN", freeze_at=1).eval()
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert norms and all(isinstance(m, nn.SyncBatchNorm) for m in norms)
    assert learning(model) == {"layer1", "layer2", "layer3", "layer4"}
    model.load_state_dict(plain.state_dict())
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model(image), plain(image))


def test_synchronised_batch_norms_keep_their_activations(monkeypatch):
    """Where timm has them in one module, as in EfficientNet."""
    plain = backbone("efficientnet_b0").eval()
    monkeypatch.setattr(comm, "get_world_size", lambda: 2)
    model = backbone("efficientnet_b0", norm="SyncBN").eval()
    model.load_state_dict(plain.state_dict())
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model(image), plain(image))


def test_synchronised_batch_norms_of_several_processes_need_gpus(monkeypatch):
    cfg = small_config(**{"MODEL.BACKBONE.NORM": "SyncBN"})
    assert build_checked_backbone(cfg)
    monkeypatch.setattr(comm, "get_world_size", lambda: 2)
    with pytest.raises(UserError, match=r"MODEL\.BACKBONE\.NORM SyncBN needs GPUs"):
        build_checked_backbone(cfg)


def test_unknown_norms_are_told():
    with pytest.raises(UserError, match=r"MODEL\.BACKBONE\.NORM 'GN' is unknown.*FrozenBN"):
        backbone(norm="GN")


def test_frozen_stages_do_not_follow_the_data_while_the_others_do():
    model = backbone(freeze_at=2)
    before = statistics(model)
    model(torch.randn(2, 3, 64, 64))
    for name, value in statistics(model).items():
        frozen = name.startswith(("body.conv1", "body.bn1", "body.layer1"))
        assert torch.equal(value, before[name]) == frozen, name


def test_evaluation_and_back():
    model = backbone(norm="FrozenBN")
    assert not model.eval().body.training
    assert model.train().body.layer4.training and not model.body.bn1.training


def test_copies_are_independent():
    """Averaged models are deep copies: a copy must not compute with the original's weights."""
    model = backbone("swin_tiny_patch4_window7_224").eval()
    image = torch.randn(1, 3, 40, 40)
    with torch.no_grad():
        expected = model(image)["res5"]
        twin = copy.deepcopy(model)
        for parameter in model.parameters():
            parameter.zero_()
        torch.testing.assert_close(twin(image)["res5"], expected)


def test_stochastic_depth_reaches_timm():
    with_drop = backbone("pvt_v2_b0", drop_path=0.3).body
    rates = [getattr(m, "drop_prob", 0) for m in with_drop.modules()]
    assert max(rates) == pytest.approx(0.3)


def test_registered_and_built_from_a_config():
    cfg = small_config(**{"MODEL.PIXEL_DECODER.IN_FEATURES": ["res2", "res3", "res4"]})
    assert list(build_backbone(cfg).output_shape()) == ["res2", "res3", "res4"]


def test_model_names_the_features_a_backbone_lacks():
    with pytest.raises(ValueError, match="res9"):
        small_model(**{"MODEL.PIXEL_DECODER.IN_FEATURES": ["res3", "res9"]})


@pytest.mark.skipif(BACKEND != "detectron2", reason="d2lite has no backbones of its own")
def test_any_registered_detectron2_backbone_works():
    model = small_model(
        **{
            "MODEL.BACKBONE.NAME": "build_resnet_backbone",
            "MODEL.RESNETS.DEPTH": 18,
            "MODEL.RESNETS.RES2_OUT_CHANNELS": 64,
            "MODEL.RESNETS.OUT_FEATURES": LEVELS,
        }
    )
    losses = model([sample(64, 80, [0, 3])])
    assert all(torch.isfinite(x) for x in losses.values())
    with torch.no_grad():
        (output,) = model.eval()([sample(64, 80, [])])
    assert output["panoptic_seg"][0].shape == (64, 80)
