"""Learning-rate schedules: functions of training progress, applied to every rate alike."""

import logging
from typing import Any

import torch
from fvcore.common.param_scheduler import (
    CompositeParamScheduler,
    ConstantParamScheduler,
    CosineParamScheduler,
    LinearParamScheduler,
    MultiStepParamScheduler,
    ParamScheduler,
    StepWithFixedGammaParamScheduler,
)
from torch.optim.lr_scheduler import LRScheduler

from .config import CfgNode
from .errors import UserError

logger = logging.getLogger(__name__)


class WarmupParamScheduler(CompositeParamScheduler):
    """A warm-up before another schedule.

    Args:
        warmup_factor: the first value as a share of the schedule's first value.
        warmup_length: share of the training that the warm-up takes.
        warmup_method: "linear" (up to the schedule's value at the end of the warm-up) or
            "constant".
        rescale_interval: begin the schedule after the warm-up instead of cutting its start.
    """

    def __init__(
        self,
        scheduler: ParamScheduler,
        warmup_factor: float,
        warmup_length: float,
        warmup_method: str = "linear",
        rescale_interval: bool = False,
    ):
        start = warmup_factor * scheduler(0.0)
        end = scheduler(0.0 if rescale_interval else warmup_length)
        if warmup_method not in ("linear", "constant"):
            raise UserError(
                f"SOLVER.WARMUP_METHOD is '{warmup_method}': set it to linear or constant."
            )
        is_linear = warmup_method == "linear"
        warmup = LinearParamScheduler(start, end) if is_linear else ConstantParamScheduler(start)
        super().__init__(
            [warmup, scheduler],
            lengths=[warmup_length, 1 - warmup_length],
            interval_scaling=["rescaled", "rescaled" if rescale_interval else "fixed"],
        )


class LRMultiplier(LRScheduler):
    """Multiplies the first learning rate of every group by one schedule, iteration by iteration.

    Args:
        last_iter: the last iteration done, -1 before a training.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        multiplier: ParamScheduler,
        max_iter: int,
        last_iter: int = -1,
    ):
        if not isinstance(multiplier, ParamScheduler):
            raise ValueError(
                f"multiplier must be a ParamScheduler of fvcore, not {type(multiplier).__name__}."
            )
        self._multiplier = multiplier
        self._max_iter = max_iter
        super().__init__(optimizer, last_epoch=last_iter)

    def state_dict(self) -> dict[str, Any]:
        """The position only: the schedule itself comes from the config."""
        return {"base_lrs": self.base_lrs, "last_epoch": self.last_epoch}

    def get_lr(self) -> list[float]:
        """Learning rates of the current iteration, one a group."""
        factor = self._multiplier(self.last_epoch / self._max_iter)
        return [base_lr * factor for base_lr in self.base_lrs]


def build_lr_scheduler(cfg: CfgNode, optimizer: torch.optim.Optimizer) -> LRMultiplier:
    """Build ``cfg.SOLVER.LR_SCHEDULER_NAME`` with its warm-up, over MAX_ITER iterations."""
    solver = cfg.SOLVER
    schedule = WarmupParamScheduler(
        _schedule(solver),
        solver.WARMUP_FACTOR,
        min(solver.WARMUP_ITERS / solver.MAX_ITER, 1.0),
        solver.WARMUP_METHOD,
        solver.RESCALE_INTERVAL,
    )
    return LRMultiplier(optimizer, schedule, max_iter=solver.MAX_ITER)


def _schedule(solver: CfgNode) -> ParamScheduler:
    name = solver.LR_SCHEDULER_NAME
    if name == "WarmupMultiStepLR":
        steps = [step for step in solver.STEPS if step <= solver.MAX_ITER]
        if len(steps) < len(solver.STEPS):
            logger.warning("SOLVER.STEPS beyond SOLVER.MAX_ITER (%d) are ignored.", solver.MAX_ITER)
        values = [solver.GAMMA**power for power in range(len(steps) + 1)]
        return MultiStepParamScheduler(values, milestones=steps, num_updates=solver.MAX_ITER)
    if name == "WarmupCosineLR":
        end = solver.BASE_LR_END / solver.BASE_LR
        if not 0 <= end <= 1:
            raise UserError(
                f"SOLVER.BASE_LR_END ({solver.BASE_LR_END}) must be between 0 and SOLVER.BASE_LR "
                f"({solver.BASE_LR})."
            )
        return CosineParamScheduler(1, end)
    if name == "WarmupStepWithFixedGammaLR":
        return StepWithFixedGammaParamScheduler(
            1.0, num_decays=solver.NUM_DECAYS, gamma=solver.GAMMA, num_updates=solver.MAX_ITER
        )
    raise UserError(
        f"SOLVER.LR_SCHEDULER_NAME is '{name}': set it to WarmupMultiStepLR, WarmupCosineLR or "
        "WarmupStepWithFixedGammaLR."
    )
