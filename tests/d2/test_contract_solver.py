"""Learning-rate schedules against their formulas, the same on both backends."""

import math

import pytest
import torch
from fvcore.common.param_scheduler import CosineParamScheduler, LinearParamScheduler

from d2_psformer.d2 import from_backend
from d2_psformer.d2.config import get_cfg
from d2_psformer.d2.solver import build_lr_scheduler

LRMultiplier, WarmupParamScheduler = map(
    from_backend("solver"), ["LRMultiplier", "WarmupParamScheduler"]
)
MAX_ITER, WARMUP, FACTOR = 40, 8, 0.1


def make_cfg(name, **solver):
    cfg = get_cfg()
    cfg.SOLVER.LR_SCHEDULER_NAME = name
    cfg.SOLVER.MAX_ITER = MAX_ITER
    cfg.SOLVER.WARMUP_ITERS = WARMUP
    cfg.SOLVER.WARMUP_FACTOR = FACTOR
    cfg.SOLVER.STEPS = ()
    for key, value in solver.items():
        setattr(cfg.SOLVER, key, value)
    return cfg


def make_optimizer(*rates):
    parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in rates]
    groups = [{"params": [p], "lr": r} for p, r in zip(parameters, rates, strict=True)]
    return torch.optim.SGD(groups, lr=1.0)


def rates(cfg, steps=MAX_ITER - 1, base=2.0):
    """Learning rates of iterations 0 ... steps of a training."""
    optimizer = make_optimizer(base)
    scheduler = build_lr_scheduler(cfg, optimizer)
    found = [optimizer.param_groups[0]["lr"]]
    for _ in range(steps):
        optimizer.step()
        scheduler.step()
        found.append(optimizer.param_groups[0]["lr"])
    return found


def warmed_up(schedule, iteration):
    """Linear from FACTOR of the first value to the schedule's value at the end of warm-up."""
    if iteration >= WARMUP:
        return schedule(iteration)
    share = iteration / WARMUP
    return (1 - share) * FACTOR * schedule(0) + share * schedule(WARMUP)


def multi_step(iteration):
    return 2.0 * 0.5 ** sum(iteration >= step for step in (20, 30))


def cosine(iteration):
    return 0.4 + 0.5 * (2.0 - 0.4) * (1 + math.cos(math.pi * iteration / MAX_ITER))


def fixed_gamma(iteration):
    return 2.0 * 0.5 ** (iteration // 10)


@pytest.mark.parametrize(
    ("name", "solver", "schedule"),
    [
        ("WarmupMultiStepLR", {"STEPS": (20, 30), "GAMMA": 0.5}, multi_step),
        ("WarmupCosineLR", {"BASE_LR": 2.0, "BASE_LR_END": 0.4}, cosine),
        ("WarmupStepWithFixedGammaLR", {"NUM_DECAYS": 3, "GAMMA": 0.5}, fixed_gamma),
    ],
)
def test_schedules_follow_their_formulas(name, solver, schedule):
    expected = [warmed_up(schedule, iteration) for iteration in range(MAX_ITER)]
    assert rates(make_cfg(name, **solver)) == pytest.approx(expected)


def test_no_warm_up():
    cfg = make_cfg("WarmupMultiStepLR", STEPS=(20, 30), GAMMA=0.5, WARMUP_ITERS=0)
    assert rates(cfg) == pytest.approx([multi_step(iteration) for iteration in range(MAX_ITER)])


def test_constant_warm_up():
    cfg = make_cfg("WarmupMultiStepLR", WARMUP_METHOD="constant")
    assert rates(cfg) == pytest.approx([0.2] * WARMUP + [2.0] * (MAX_ITER - WARMUP))


def test_steps_beyond_the_end_are_ignored():
    cfg = make_cfg("WarmupMultiStepLR", STEPS=(20, 100), WARMUP_ITERS=0)
    assert rates(cfg)[-1] == pytest.approx(0.2)


def test_rescaled_interval_begins_the_schedule_after_the_warm_up():
    warmup = WarmupParamScheduler(LinearParamScheduler(1.0, 0.0), 0.5, 0.2, rescale_interval=True)
    assert warmup(0.0) == pytest.approx(0.5)
    assert warmup(0.1) == pytest.approx(0.75)
    assert warmup(0.2) == pytest.approx(1.0)
    assert warmup(0.6) == pytest.approx(0.5)


def test_groups_keep_their_ratio():
    optimizer = make_optimizer(1.0, 0.1)
    scheduler = LRMultiplier(optimizer, CosineParamScheduler(1, 0), max_iter=10)
    for _ in range(9):
        optimizer.step()
        scheduler.step()
        first, second = (group["lr"] for group in optimizer.param_groups)
        assert first == pytest.approx(10 * second)


def test_resumed_schedule_goes_on():
    cfg = make_cfg("WarmupCosineLR", BASE_LR=2.0)
    whole = rates(cfg, steps=30)
    optimizer = make_optimizer(2.0)
    scheduler = build_lr_scheduler(cfg, optimizer)
    for _ in range(12):
        optimizer.step()
        scheduler.step()
    saved = scheduler.state_dict(), optimizer.state_dict()
    assert set(saved[0]) == {"base_lrs", "last_epoch"}

    resumed_optimizer = make_optimizer(2.0)
    resumed = build_lr_scheduler(cfg, resumed_optimizer)
    resumed.load_state_dict(saved[0])
    resumed_optimizer.load_state_dict(saved[1])
    for iteration in range(13, 31):
        resumed_optimizer.step()
        resumed.step()
        assert resumed_optimizer.param_groups[0]["lr"] == pytest.approx(whole[iteration])


def test_what_is_unknown_is_named():
    with pytest.raises(ValueError, match="NoSuchLR"):
        build_lr_scheduler(make_cfg("NoSuchLR"), make_optimizer(1.0))
    with pytest.raises(ValueError, match="sudden"):
        WarmupParamScheduler(CosineParamScheduler(1, 0), 0.1, 0.1, "sudden")
    with pytest.raises(ValueError, match="ParamScheduler"):
        LRMultiplier(make_optimizer(1.0), lambda where: 1.0, max_iter=3)
