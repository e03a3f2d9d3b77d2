"""Learning-rate schedules: those of the backend, and the polynomial one of DeepLab."""

import logging
import math

import torch
from fvcore.common.param_scheduler import ParamScheduler
from torch.optim.lr_scheduler import LRScheduler

from ..d2.config import CfgNode
from ..d2.solver import LRMultiplier
from ..d2.solver import build_lr_scheduler as build_backend_scheduler
from ..utils.errors import check_known

logger = logging.getLogger(__name__)

_POLYNOMIAL = ("WarmupPolyLR", "WarmupThenPolyLR")
_NAMES = ("WarmupMultiStepLR", "WarmupCosineLR", "WarmupStepWithFixedGammaLR", *_POLYNOMIAL)


def build_lr_scheduler(cfg: CfgNode, optimizer: torch.optim.Optimizer) -> LRScheduler:
    """Build SOLVER.LR_SCHEDULER_NAME with its warm-up, over MAX_ITER iterations.

    Raises:
        UserError: unknown schedule or WARMUP_METHOD.
    """
    solver = cfg.SOLVER
    if solver.WARMUP_ITERS >= solver.MAX_ITER:
        logger.warning(
            "SOLVER.WARMUP_ITERS is %d and SOLVER.MAX_ITER %d: training ends within the warm-up, "
            "before the learning rate has reached SOLVER.BASE_LR.",
            solver.WARMUP_ITERS, solver.MAX_ITER,
        )  # fmt: skip
    check_known("SOLVER.LR_SCHEDULER_NAME", solver.LR_SCHEDULER_NAME, _NAMES)
    check_known("SOLVER.WARMUP_METHOD", solver.WARMUP_METHOD, ("linear", "constant"))
    if solver.LR_SCHEDULER_NAME == "WarmupStepWithFixedGammaLR":
        cfg = _with_steps(cfg)
    if solver.LR_SCHEDULER_NAME not in _POLYNOMIAL:
        return build_backend_scheduler(cfg, optimizer)
    schedule = PolynomialSchedule(
        solver.POLY_LR_POWER,
        solver.POLY_LR_CONSTANT_ENDING,
        warmup_length=solver.WARMUP_ITERS / solver.MAX_ITER,
        warmup_factor=solver.WARMUP_FACTOR,
        is_linear=solver.WARMUP_METHOD == "linear",
        in_warmup=solver.LR_SCHEDULER_NAME == "WarmupPolyLR",
    )
    return LRMultiplier(optimizer, schedule, max_iter=solver.MAX_ITER)


def _with_steps(cfg: CfgNode) -> CfgNode:
    """The schedule of equal parts as one of steps: fvcore's has no value at the end of training."""
    cfg = cfg.clone()
    cfg.defrost()
    node = cfg.SOLVER
    node.LR_SCHEDULER_NAME, parts = "WarmupMultiStepLR", node.NUM_DECAYS + 1
    node.STEPS = [math.ceil(part * node.MAX_ITER / parts) for part in range(1, parts)]
    return cfg


class PolynomialSchedule(ParamScheduler):
    """``(1 - progress) ** power``, and a warm-up with a factor that rises to 1.

    Detectron2's DeepLab project multiplies the curve with this factor (WarmupPolyLR). In deeplab2
    the factor replaces the start of the curve, so the value drops a little after the warm-up.
    The backend's schedules, in contrast, rise to the curve.

    Args:
        constant_ending: the least value after the warm-up.
        warmup_length: share of the training that the warm-up takes.
        warmup_factor: the first factor of the warm-up.
        is_linear: the factor rises linearly; else it stays at the first one until the end.
        in_warmup: the curve counts in the warm-up too, as in WarmupPolyLR.
    """

    def __init__(
        self,
        power: float,
        constant_ending: float = 0.0,
        *,
        warmup_length: float = 0.0,
        warmup_factor: float = 1.0,
        is_linear: bool = True,
        in_warmup: bool = True,
    ):
        self.power, self.constant_ending = power, constant_ending
        self.warmup_length, self.warmup_factor = warmup_length, warmup_factor
        self.is_linear, self.in_warmup = is_linear, in_warmup

    def __call__(self, where: float) -> float:
        value = max(0.0, 1 - where) ** self.power
        if where >= self.warmup_length:
            return max(value, self.constant_ending)
        share = where / self.warmup_length if self.is_linear else 0.0
        factor = self.warmup_factor * (1 - share) + share
        return value * factor if self.in_warmup else factor
