import pytest
import torch
from dummy_training import dummy_cfg
from timm.layers import LayerNorm2d
from torch import nn

from d2_psformer.d2.config import CfgNode, get_cfg
from d2_psformer.engine import build_gradient_clipper, build_optimizer
from d2_psformer.engine.adam import KerasAdam
from d2_psformer.engine.optimizer import parameter_groups
from d2_psformer.utils.errors import UserError

CLIP = "SOLVER.CLIP_GRADIENTS."


class SmallModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Linear(2, 2)
        self.sampling_offsets = nn.Linear(2, 2)
        self.head = nn.Linear(2, 2)
        self.shared = self.head
        self.frozen = nn.Linear(2, 2).requires_grad_(False)


def solver(**options) -> CfgNode:
    node = get_cfg().SOLVER
    plain = {
        "BASE_LR": 1.0,
        "LAYER_DECAY": 1.0,
        "WEIGHT_DECAY_NORM": None,
        "WEIGHT_DECAY_EMBED": None,
    }
    for key, value in (plain | options).items():
        node[key] = value
    return node


def test_groups_by_part_of_the_name():
    model = SmallModel()
    groups = parameter_groups(
        model, solver(LR_MULTIPLIERS=[("backbone", 0.1), ("offsets", 0.5), ("back", 9.0)])
    )
    found = {group["lr"]: group["params"] for group in groups}
    expected = {0.1: model.backbone, 0.5: model.sampling_offsets, 1.0: model.head}
    assert found.keys() == expected.keys()
    for rate, module in expected.items():
        assert {id(p) for p in found[rate]} == {id(p) for p in module.parameters()}


def test_every_trainable_parameter_once():
    model = SmallModel()
    groups = parameter_groups(model, solver(LR_MULTIPLIERS=[("head", 0.1)]))
    given = [id(p) for group in groups for p in group["params"]]
    assert len(given) == len(set(given))
    assert set(given) == {id(p) for p in model.parameters() if p.requires_grad}


@pytest.mark.parametrize("name", ["ADAMW", "SGD"])
def test_it_steps_like_torch(tmp_path, name):
    cfg = dummy_cfg(tmp_path, "SOLVER.OPTIMIZER", name, "SOLVER.WEIGHT_DECAY", 0.1)
    cfg.SOLVER.LR_MULTIPLIERS = [["backbone", 0.1]]
    ours, theirs = SmallModel(), SmallModel()
    theirs.load_state_dict(ours.state_dict())
    kind, more = torch.optim.AdamW, {}
    if name == "SGD":
        kind, more = torch.optim.SGD, {"momentum": cfg.SOLVER.MOMENTUM}
    backbone = list(theirs.backbone.parameters())
    rest = [*theirs.sampling_offsets.parameters(), *theirs.head.parameters()]
    reference = kind(
        [{"params": backbone, "lr": cfg.SOLVER.BASE_LR / 10}, {"params": rest}],
        lr=cfg.SOLVER.BASE_LR, weight_decay=0.1, **more,
    )  # fmt: skip
    optimizer = build_optimizer(cfg, ours)
    for _ in range(3):
        for model, stepping in ((ours, optimizer), (theirs, reference)):
            stepping.zero_grad()
            x = model.sampling_offsets(model.head(model.backbone(torch.ones(1, 2))))
            x.square().sum().backward()
            stepping.step()
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())


def test_adam_is_keras():
    """Numbers of TensorFlow 2.15's, where epsilon counts and where it does not."""
    gradients = [[1e-7, 3e-6, 0.0, -2.0], [2e-6, -1e-6, 1e-8, 0.5], [0.0, 1e-7, 1e-3, -1.0]]
    expected = [
        [0.9996934533, -1.0048682690, 0.5, 0.0099999839],
        [0.9966822267, -1.0068688393, 0.4999765456, 0.0146946423],
        [0.9943552613, -1.0085155964, 0.4936084747, 0.0207493939],
    ]
    weight = torch.tensor([1.0, -1.0, 0.5, 0.0], requires_grad=True)
    optimizer = KerasAdam([weight], lr=1e-2, fused=True)
    for gradient, after in zip(gradients, expected, strict=True):
        weight.grad = torch.tensor(gradient)
        optimizer.step()
        torch.testing.assert_close(weight.data, torch.tensor(after), rtol=1e-6, atol=1e-6)


class ModelOfAllKinds(nn.Module):
    """A network with every kind of parameter that weight decay treats in its own way."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.GroupNorm(2, 4))
        self.relative_position_bias_table = nn.Parameter(torch.zeros(4, 2))
        self.absolute_pos_embed = nn.Parameter(torch.zeros(4))
        self.level_embed = nn.Parameter(torch.zeros(3, 4))
        self.query_embed = nn.Embedding(5, 4)
        self.layer = nn.TransformerEncoderLayer(4, 2)
        self.norm_of_no_type = nn.Linear(4, 4)
        self.norms = nn.ModuleList(
            [LayerNorm2d(4), nn.SyncBatchNorm(4), nn.InstanceNorm1d(4, affine=True)]
        )


EXEMPT_NORMS = {
    "backbone.1",
    "backbone.2",
    "layer.norm1",
    "layer.norm2",
    "norms.0",
    "norms.1",
    "norms.2",
}
EXEMPT_EMBEDDINGS = {"relative_position_bias_table", "absolute_pos_embed", "query_embed.weight"}


def test_weight_decay_by_type_of_module(tmp_path):
    cfg = dummy_cfg(tmp_path, "SOLVER.WEIGHT_DECAY", 0.3)
    cfg.SOLVER.WEIGHT_DECAY_NORM, cfg.SOLVER.WEIGHT_DECAY_EMBED = 0.0, 0.1
    model = ModelOfAllKinds()
    groups = build_optimizer(cfg, model).param_groups
    found = {name: g["weight_decay"] for g in groups for name in g["param_names"]}
    expected = {name: 0.3 for name, _ in model.named_parameters()}
    norms = {f"{module}.{part}" for module in EXEMPT_NORMS for part in ("weight", "bias")}
    expected |= dict.fromkeys(norms, 0.0) | dict.fromkeys(EXEMPT_EMBEDDINGS, 0.1)
    assert found == expected
    rates = {(g["lr"], g["weight_decay"]): len(g["params"]) for g in groups}
    base = cfg.SOLVER.BASE_LR
    assert rates[base * 0.1, 0.3] == 2 and rates[base * 0.1, 0.0] == 4


@pytest.mark.parametrize(("norm", "bias"), [(None, None), (0.0, None), (0.2, 0.05), (None, 0.0)])
def test_biases_have_a_rate_and_a_weight_decay_of_their_own_as_in_detectron2(norm, bias):
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Linear(4, 4), nn.LayerNorm(4))
    decays = {"WEIGHT_DECAY": 0.3, "WEIGHT_DECAY_NORM": norm, "WEIGHT_DECAY_BIAS": bias}
    groups = parameter_groups(model, solver(BIAS_LR_FACTOR=2.0, LR_MULTIPLIERS=[], **decays))
    found = {n: (g["lr"], g["weight_decay"]) for g in groups for n in g["param_names"]}
    of_norm = 0.3 if norm is None else norm
    for place, weight in enumerate([0.3, of_norm, 0.3, of_norm]):
        assert found[f"{place}.weight"] == (1.0, weight)
        assert found[f"{place}.bias"] == (2.0, weight if bias is None else bias)
    build = pytest.importorskip("detectron2.solver.build")
    theirs = build.get_default_optimizer_params(
        model, 1.0, 0.3, norm, bias_lr_factor=2.0, weight_decay_bias=bias
    )
    names = {id(p): name for name, p in model.named_parameters()}
    assert found == {
        names[id(p)]: (g["lr"], g["weight_decay"]) for g in theirs for p in g["params"]
    }


def test_weight_decay_is_on_everything_unless_told_otherwise(tmp_path):
    cfg = dummy_cfg(tmp_path, "SOLVER.WEIGHT_DECAY", 0.3)
    optimizer = build_optimizer(cfg, ModelOfAllKinds())
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.3}
    assert len(optimizer.param_groups) == 2, "one group a rate, as in earlier versions' checkpoints"


def test_unknown_optimizer(tmp_path):
    with pytest.raises(ValueError, match=r"SOLVER\.OPTIMIZER 'LION'.*ADAMW"):
        build_optimizer(dummy_cfg(tmp_path, "SOLVER.OPTIMIZER", "LION"), SmallModel())


def test_nothing_to_train(tmp_path):
    with pytest.raises(ValueError, match="no trainable parameter"):
        build_optimizer(dummy_cfg(tmp_path), SmallModel().requires_grad_(False))


def with_gradients(seed: int = 0) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    parameters = [nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(2, 2))]
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    return parameters


def test_clipping_by_norm_and_by_value_is_per_parameter(tmp_path):
    parameters, before = with_gradients(), with_gradients()
    clip = build_gradient_clipper(
        dummy_cfg(tmp_path, f"{CLIP}CLIP_TYPE", "norm", f"{CLIP}CLIP_VALUE", 0.1)
    )
    clip(parameters)
    for parameter, old in zip(parameters, before, strict=True):
        expected = old.grad * 0.1 / old.grad.norm()
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-4, atol=1e-6)

    parameters = with_gradients()
    build_gradient_clipper(
        dummy_cfg(tmp_path, f"{CLIP}CLIP_TYPE", "value", f"{CLIP}CLIP_VALUE", 0.1)
    )(parameters)
    for parameter, old in zip(parameters, before, strict=True):
        torch.testing.assert_close(parameter.grad, old.grad.clamp(-0.1, 0.1))


def test_clipping_takes_the_type_of_norm(tmp_path):
    parameters = with_gradients()
    expected = max(p.grad.abs().max() for p in parameters)
    cfg = dummy_cfg(tmp_path, f"{CLIP}NORM_TYPE", float("inf"), f"{CLIP}CLIP_VALUE", 0.1)
    assert expected > 0.1
    build_gradient_clipper(cfg)(parameters)
    assert max(p.grad.abs().max() for p in parameters) == pytest.approx(0.1, rel=1e-4)


def test_clipping_off_and_unknown(tmp_path):
    assert build_gradient_clipper(dummy_cfg(tmp_path, f"{CLIP}ENABLED", False)) is None
    with pytest.raises(ValueError, match="CLIP_TYPE is 'hard'"):
        build_gradient_clipper(dummy_cfg(tmp_path, f"{CLIP}CLIP_TYPE", "hard"))


def test_nesterov_without_momentum(tmp_path):
    options = "SOLVER.OPTIMIZER", "SGD", "SOLVER.NESTEROV", True, "SOLVER.MOMENTUM", 0.0
    with pytest.raises(UserError, match=r"NESTEROV is True and SOLVER\.MOMENTUM 0"):
        build_optimizer(dummy_cfg(tmp_path, *options), nn.Linear(2, 2))
