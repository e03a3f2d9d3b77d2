import copy

import pytest
import torch
from dummy_training import RecordingTrainer, dummy_cfg
from torch import nn

from d2_psformer.engine import build_optimizer
from d2_psformer.engine.optimizer_state import load_optimizer_state


class Norms(nn.Module):
    """Two layers whose parameters have the same shapes, and a last one with others."""

    def __init__(self, names=("norm1", "norm2")):
        super().__init__()
        torch.manual_seed(0)
        for name in names:
            self.add_module(name, nn.LayerNorm(4))
        self.last = nn.Linear(4, 2)

    def forward(self, x):
        return self.last(self.norm2(self.norm1(x)))


def optimizer_of(model: nn.Module, tmp_path, *opts, multipliers=()) -> torch.optim.Optimizer:
    cfg = dummy_cfg(tmp_path, *opts)
    cfg.SOLVER.LR_MULTIPLIERS = list(multipliers)
    return build_optimizer(cfg, model)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 2) -> None:
    for step in range(steps):
        optimizer.zero_grad()
        model(torch.linspace(-1, 2 + step, 12).reshape(3, 4)).square().sum().backward()
        optimizer.step()


def trained(tmp_path, *opts, **options) -> tuple[Norms, dict]:
    model = Norms()
    optimizer = optimizer_of(model, tmp_path, *opts, **options)
    train(model, optimizer)
    return model, copy.deepcopy(optimizer.state_dict())


@pytest.mark.parametrize("kind", ["ADAMW", "ADAM", "SGD"])
@pytest.mark.parametrize("with_names", [True, False])
def test_training_goes_on_as_if_nothing_had_happened(tmp_path, kind, with_names):
    settings = (tmp_path, "SOLVER.OPTIMIZER", kind)
    multipliers = [["norm1", 0.5]]
    model, state = trained(*settings, multipliers=multipliers)
    if not with_names:  # as version 0.1.0 saved it
        for group in state["param_groups"]:
            del group["param_names"]
    optimizer = optimizer_of(model, *settings, multipliers=multipliers)
    load_optimizer_state(optimizer, state, "x")
    train(model, optimizer, steps=3)

    twin = Norms()
    uninterrupted = optimizer_of(twin, *settings, multipliers=multipliers)
    train(twin, uninterrupted, steps=2)
    train(twin, uninterrupted, steps=3)
    torch.testing.assert_close(model.state_dict(), twin.state_dict(), rtol=0, atol=0)


def test_parameters_in_another_order_keep_their_moments(tmp_path):
    model, state = trained(tmp_path)
    moved = Norms(names=("norm2", "norm1"))
    moved.load_state_dict(model.state_dict())
    optimizer = optimizer_of(moved, tmp_path)
    load_optimizer_state(optimizer, state, "x")
    reference = optimizer_of(model, tmp_path)
    reference.load_state_dict(copy.deepcopy(state))  # torch shares the tensors
    for net, stepping in ((moved, optimizer), (model, reference)):
        train(net, stepping)
    for name, value in model.state_dict().items():
        assert torch.equal(value, moved.state_dict()[name])


def expect_refusal(optimizer, state, *words: str) -> None:
    before = copy.deepcopy(optimizer.state_dict())
    with pytest.raises(ValueError, match=r"The optimizer state of checkpoint 'a\.pth'") as caught:
        load_optimizer_state(optimizer, state, "checkpoint 'a.pth'")
    assert "\n" not in str(caught.value)
    for word in (*words, "MODEL.WEIGHTS"):
        assert word in str(caught.value)
    assert optimizer.state_dict() == before, "nothing is loaded"


def test_other_groups(tmp_path):
    _, state = trained(tmp_path, multipliers=[["norm1", 0.5]])
    other = optimizer_of(Norms(), tmp_path, multipliers=[["norm2", 0.5]])
    expect_refusal(other, state, "parameter groups differ")
    expect_refusal(optimizer_of(Norms(), tmp_path), state, "2 parameter groups in place of 1")


@pytest.mark.parametrize(("old", "new"), [("SGD", "ADAMW"), ("ADAMW", "SGD"), ("ADAMW", "ADAM")])
def test_another_optimizer(tmp_path, old, new):
    _, state = trained(tmp_path, "SOLVER.OPTIMIZER", old)
    optimizer = optimizer_of(Norms(), tmp_path, "SOLVER.OPTIMIZER", new)
    expect_refusal(optimizer, state, f"it is not of {type(optimizer).__name__}")


def test_no_state_at_all(tmp_path):
    for state in (None, {}, {"state": {}}):
        expect_refusal(optimizer_of(Norms(), tmp_path), state, "it is missing")


def test_groups_of_another_size_without_names(tmp_path):
    _, state = trained(tmp_path, multipliers=[["norm1", 0.5]])
    del state["param_groups"][0]["param_names"], state["param_groups"][0]["params"][-1]
    optimizer = optimizer_of(Norms(), tmp_path, multipliers=[["norm1", 0.5]])
    expect_refusal(optimizer, state, "1 parameters in place of 2")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("exp_avg", torch.zeros(5), ("'exp_avg'", "(5,) in place of (2,)")),
        ("exp_avg_sq", torch.zeros(2, 2), ("'exp_avg_sq'", "(2, 2)")),
        ("exp_avg", torch.zeros(2, dtype=torch.int64), ("floating-point",)),
        ("exp_avg", torch.tensor([0.0, float("nan")]), ("NaN",)),
        ("step", torch.zeros(2), ("'step'", "(2,) in place of ()")),
        ("step", 3, ("no tensor",)),
        ("more", torch.zeros(2), ("'more'",)),
    ],
)
def test_state_that_would_corrupt_memory(tmp_path, key, value, words):
    _, state = trained(tmp_path)
    optimizer = optimizer_of(Norms(), tmp_path)
    number = state["param_groups"][0]["param_names"].index("last.bias")
    state["state"][number][key] = value
    expect_refusal(optimizer, state, "'last.bias'", *words)


def test_parameters_without_state_are_named(tmp_path, caplog):
    _, state = trained(tmp_path)
    del state["state"][state["param_groups"][0]["param_names"].index("norm2.bias")]
    load_optimizer_state(optimizer_of(Norms(), tmp_path), state, "checkpoint 'a.pth'")
    assert "no state of 1 parameters (first 'norm2.bias')" in caplog.text


def test_a_group_without_a_learning_rate(tmp_path):
    _, state = trained(tmp_path)
    for wrong in ({"lr": float("nan")}, {}):
        group = {k: v for k, v in state["param_groups"][0].items() if k != "lr"}
        broken = {**state, "param_groups": [{**group, **wrong}]}
        expect_refusal(optimizer_of(Norms(), tmp_path), broken, "no finite learning rate")


def test_a_resumed_run_names_the_checkpoint(tmp_path):
    first = RecordingTrainer(dummy_cfg(tmp_path, "SOLVER.LR_MULTIPLIERS", [["norm", 0.5]]))
    first.train()
    other = RecordingTrainer(dummy_cfg(tmp_path, "SOLVER.LR_MULTIPLIERS", [["backbone", 0.5]]))
    with pytest.raises(ValueError, match=r"model_final\.pth.*parameter groups differ"):
        other.resume_or_load(resume=True)
