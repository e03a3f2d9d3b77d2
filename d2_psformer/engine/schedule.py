"""Learning-rate schedules: those of the backend, and the polynomial ones of DeepLab and EoMT."""

import logging
import math
from collections.abc import Callable

import torch
from fvcore.common.param_scheduler import ParamScheduler
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from ..d2.config import CfgNode
from ..d2.solver import LRMultiplier
from ..d2.solver import build_lr_scheduler as build_backend_scheduler
from ..utils.errors import UserError, check_known

logger = logging.getLogger(__name__)

_POLYNOMIAL = ("WarmupPolyLR", "WarmupThenPolyLR")
_TWO_STAGES = "TwoStageWarmupPolyLR"
_BACKENDS = ("WarmupMultiStepLR", "WarmupCosineLR", "WarmupStepWithFixedGammaLR")


def build_lr_scheduler(cfg: CfgNode, optimizer: torch.optim.Optimizer) -> LRScheduler:
    """Build SOLVER.LR_SCHEDULER_NAME with its warm-up, over MAX_ITER iterations.

    Raises:
        UserError: unknown schedule or WARMUP_METHOD.
    """
    solver = cfg.SOLVER
    names = (*_BACKENDS, *_POLYNOMIAL, _TWO_STAGES)
    check_known("SOLVER.LR_SCHEDULER_NAME", solver.LR_SCHEDULER_NAME, names)
    has_two_stages = solver.LR_SCHEDULER_NAME == _TWO_STAGES
    warmup = solver.WARMUP_ITERS + (solver.BACKBONE_WARMUP_ITERS if has_two_stages else 0)
    if warmup >= solver.MAX_ITER:
        logger.warning(
            "SOLVER.WARMUP_ITERS%s is %d and SOLVER.MAX_ITER %d: training ends within the warm-up, "
            "before the learning rate has reached SOLVER.BASE_LR.",
            " + BACKBONE_WARMUP_ITERS" if has_two_stages else "", warmup, solver.MAX_ITER,
        )  # fmt: skip
    if has_two_stages:
        return _two_stage_schedule(solver, optimizer)
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


def _two_stage_schedule(solver: CfgNode, optimizer: torch.optim.Optimizer) -> LambdaLR:
    """The backbone waits for the warm-up of all else, then has its own (EoMT)."""
    first, second = solver.WARMUP_ITERS, solver.BACKBONE_WARMUP_ITERS
    total, power = solver.MAX_ITER, solver.POLY_LR_POWER
    backbone = _warmup_and_poly(first, second, total, power)
    others = _warmup_and_poly(0, first, total, power)
    names = (group["param_names"][0] for group in optimizer.param_groups)
    factors = [backbone if name.startswith("backbone.") else others for name in names]
    return LambdaLR(optimizer, factors)


def _warmup_and_poly(wait: int, warmup: int, total: int, power: float) -> Callable[[int], float]:
    """The factor of an iteration: 0, then a rise to 1, then a polynomial down to 0 at ``total``."""

    def factor(iteration: int) -> float:
        done = iteration - wait
        if done < 0:
            return 0.0
        if done < warmup:
            return done / warmup
        rest = max(1, total - wait - warmup)
        return max(0.0, 1 - (done - warmup) / rest) ** power

    return factor


def _with_steps(cfg: CfgNode) -> CfgNode:
    """The schedule of equal parts as one of steps: fvcore's has no value at the end of training."""
    cfg = cfg.clone()
    cfg.defrost()
    node = cfg.SOLVER
    if node.NUM_DECAYS >= node.MAX_ITER:
        raise UserError(
            f"SOLVER.NUM_DECAYS is {node.NUM_DECAYS}: it must be below SOLVER.MAX_ITER "
            f"({node.MAX_ITER})."
        )
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
