"""The schedule that a config asks for."""

import logging

import torch
from fvcore.common.param_scheduler import (
    CosineParamScheduler,
    MultiStepParamScheduler,
    ParamScheduler,
    StepWithFixedGammaParamScheduler,
)

from ..config import CfgNode
from .lr_scheduler import LRMultiplier, WarmupParamScheduler


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
            logging.getLogger(__name__).warning(
                "SOLVER.STEPS beyond SOLVER.MAX_ITER (%d) are ignored.", solver.MAX_ITER
            )
        return MultiStepParamScheduler(
            values=[solver.GAMMA**power for power in range(len(steps) + 1)],
            milestones=steps,
            num_updates=solver.MAX_ITER,
        )
    if name == "WarmupCosineLR":
        end = solver.BASE_LR_END / solver.BASE_LR
        if not 0 <= end <= 1:
            raise ValueError(
                f"SOLVER.BASE_LR_END ({solver.BASE_LR_END}) must be between 0 and SOLVER.BASE_LR "
                f"({solver.BASE_LR})."
            )
        return CosineParamScheduler(1, end)
    if name == "WarmupStepWithFixedGammaLR":
        return StepWithFixedGammaParamScheduler(
            base_value=1.0,
            gamma=solver.GAMMA,
            num_decays=solver.NUM_DECAYS,
            num_updates=solver.MAX_ITER,
        )
    raise ValueError(
        f"SOLVER.LR_SCHEDULER_NAME is '{name}': take WarmupMultiStepLR, WarmupCosineLR or "
        "WarmupStepWithFixedGammaLR."
    )
