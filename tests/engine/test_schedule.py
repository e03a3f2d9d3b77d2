"""The polynomial schedule against its formula, the same on both backends."""

import json

import pytest
import torch

from d2_psformer.config import add_psformer_config
from d2_psformer.d2 import BACKEND
from d2_psformer.d2.config import get_cfg
from d2_psformer.engine.optimizer import build_optimizer
from d2_psformer.engine.schedule import build_lr_scheduler
from d2_psformer.utils.errors import UserError

MAX_ITER, BASE_LR = 40, 2.0


def make_cfg(**options):
    cfg = get_cfg()
    add_psformer_config(cfg)
    given = {"LR_SCHEDULER_NAME": "WarmupPolyLR", "MAX_ITER": MAX_ITER, "BASE_LR": BASE_LR}
    for key, value in (given | options).items():
        cfg.SOLVER[key] = value
    return cfg


def make_optimizer():
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=BASE_LR)


def rates_of(optimizer, scheduler) -> list[float]:
    """Learning rates of all iterations."""
    found = []
    for _ in range(MAX_ITER):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def rates(cfg) -> list[float]:
    optimizer = make_optimizer()
    return rates_of(optimizer, build_lr_scheduler(cfg, optimizer))


SETTINGS = [
    {"WARMUP_ITERS": 0},
    {"WARMUP_ITERS": 8, "WARMUP_FACTOR": 1e-6},
    {"WARMUP_ITERS": 8, "WARMUP_FACTOR": 0.1, "POLY_LR_POWER": 2.0},
    {"WARMUP_ITERS": 8, "WARMUP_FACTOR": 0.1, "WARMUP_METHOD": "constant"},
    {"WARMUP_ITERS": 8, "POLY_LR_CONSTANT_ENDING": 0.3},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_polynomial_schedule(settings):
    cfg = make_cfg(**settings)
    solver, expected = cfg.SOLVER, []
    for iteration in range(MAX_ITER):
        factor = (1 - iteration / MAX_ITER) ** solver.POLY_LR_POWER
        if iteration >= solver.WARMUP_ITERS:
            factor = max(factor, solver.POLY_LR_CONSTANT_ENDING)
        elif solver.WARMUP_METHOD == "constant":
            factor *= solver.WARMUP_FACTOR
        else:
            done = iteration / solver.WARMUP_ITERS
            factor *= solver.WARMUP_FACTOR + (1 - solver.WARMUP_FACTOR) * done
        expected.append(BASE_LR * factor)
    assert rates(cfg) == pytest.approx(expected)


@pytest.mark.skipif(BACKEND != "detectron2", reason="compares with Detectron2's DeepLab project")
@pytest.mark.parametrize("settings", SETTINGS)
def test_polynomial_schedule_is_deeplabs(settings):
    deeplab = pytest.importorskip("detectron2.projects.deeplab")
    cfg, optimizer = make_cfg(**settings), make_optimizer()
    theirs = rates_of(optimizer, deeplab.build_lr_scheduler(cfg, optimizer))
    assert rates(cfg) == pytest.approx(theirs)


def test_golden_schedule_of_deeplab2(reference_max_deeplab):
    """The warm-up begins at 0 and ends at the base rate; then the rate drops to the curve."""
    values = json.loads((reference_max_deeplab / "schedule_and_blocks.json").read_text())
    cases = [case for name, case in values.items() if name.startswith("lr/")]
    assert cases
    for case in cases:
        cfg = make_cfg(
            LR_SCHEDULER_NAME="WarmupThenPolyLR",
            BASE_LR=case["base"],
            MAX_ITER=case["total_steps"],
            WARMUP_ITERS=case["warmup_steps"],
            WARMUP_FACTOR=0.0,
            POLY_LR_POWER=case["power"],
        )
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=case["base"])
        scheduler = build_lr_scheduler(cfg, optimizer)
        found = []
        for step in case["steps"]:
            scheduler.last_epoch = step
            found += scheduler.get_lr()
        # 1 - step / T is rounded to float32 there
        assert found == pytest.approx(case["lr"], rel=1e-6, abs=1e-6 * case["base"])


def test_a_training_that_is_over_has_rate_zero():
    optimizer = make_optimizer()
    scheduler = build_lr_scheduler(make_cfg(WARMUP_ITERS=0), optimizer)
    rates_of(optimizer, scheduler)
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == 0


def two_stage_rate(step: int, warmups: tuple[int, int], power: float, is_backbone: bool) -> float:
    """The formula of EoMT's authors."""
    first, second = warmups
    if is_backbone:
        if step < first:
            return 0
        if step < first + second:
            return (step - first) / second
        return (1 - (step - first - second) / max(1, MAX_ITER - first - second)) ** power
    if first > 0 and step < first:
        return step / first
    return (1 - (step - first) / max(1, MAX_ITER - first)) ** power


@pytest.mark.parametrize("warmups", [(8, 12), (0, 5), (5, 0), (0, 0)])
def test_two_stages(warmups):
    cfg = make_cfg(
        LR_SCHEDULER_NAME="TwoStageWarmupPolyLR",
        WARMUP_ITERS=warmups[0],
        BACKBONE_WARMUP_ITERS=warmups[1],
        LR_MULTIPLIERS=[["backbone.late", 0.5]],
    )
    model = torch.nn.ModuleDict({"head": torch.nn.Linear(2, 1)})
    model["backbone"] = torch.nn.ModuleDict(
        {"early": torch.nn.Linear(1, 1), "late": torch.nn.Linear(1, 1)}
    )
    optimizer = build_optimizer(cfg, model)
    scheduler = build_lr_scheduler(cfg, optimizer)
    for step in range(MAX_ITER + 1):
        found = {n: g["lr"] for g in optimizer.param_groups for n in g["param_names"]}
        backbone, others = (two_stage_rate(step, warmups, 0.9, is_it) for is_it in (True, False))
        assert found["head.weight"] == pytest.approx(BASE_LR * others)
        assert found["backbone.early.weight"] == pytest.approx(BASE_LR * backbone)
        assert found["backbone.late.weight"] == pytest.approx(BASE_LR / 2 * backbone)
        optimizer.step()
        scheduler.step()


def test_two_stages_that_are_longer_than_the_run(caplog):
    two = {"LR_SCHEDULER_NAME": "TwoStageWarmupPolyLR", "WARMUP_ITERS": 30}
    for second, warned in ((9, 0), (10, 1)):
        cfg = make_cfg(BACKBONE_WARMUP_ITERS=second, **two)
        build_lr_scheduler(cfg, build_optimizer(cfg, torch.nn.Linear(1, 1)))
        assert sum("+ BACKBONE_WARMUP_ITERS is 40" in m for m in caplog.messages) == warned


def test_other_schedules_are_the_backends():
    cfg = make_cfg(LR_SCHEDULER_NAME="WarmupMultiStepLR", STEPS=(20,), WARMUP_ITERS=0)
    assert rates(cfg) == pytest.approx([2.0] * 20 + [0.2] * 20)


def test_equal_parts_have_a_rate_after_the_last_iteration():
    cfg = make_cfg(LR_SCHEDULER_NAME="WarmupStepWithFixedGammaLR", WARMUP_ITERS=0, NUM_DECAYS=2)
    optimizer = make_optimizer()
    scheduler = build_lr_scheduler(cfg, optimizer)
    assert rates_of(optimizer, scheduler) == pytest.approx([2.0] * 14 + [0.2] * 13 + [0.02] * 13)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.02)


def test_more_parts_than_iterations():
    with pytest.raises(UserError, match=r"NUM_DECAYS is 40: it must be below SOLVER\.MAX_ITER"):
        rates(make_cfg(LR_SCHEDULER_NAME="WarmupStepWithFixedGammaLR", NUM_DECAYS=40))


def test_what_is_unknown_is_named():
    with pytest.raises(UserError, match=r"SOLVER\.LR_SCHEDULER_NAME 'WarmupPoly'.*WarmupPolyLR"):
        rates(make_cfg(LR_SCHEDULER_NAME="WarmupPoly"))
    with pytest.raises(UserError, match=r"SOLVER\.WARMUP_METHOD 'sudden'"):
        rates(make_cfg(WARMUP_METHOD="sudden"))


@pytest.mark.parametrize(("warmup", "warned"), [(39, 0), (40, 1), (500, 1)])
def test_a_warm_up_as_long_as_the_run(caplog, warmup, warned):
    cfg = make_cfg(WARMUP_ITERS=warmup)
    build_lr_scheduler(cfg, torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0))
    assert sum("within the warm-up" in message for message in caplog.messages) == warned
