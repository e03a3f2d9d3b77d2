"""Learning-rate schedules."""

from . import BACKEND

if BACKEND == "detectron2":
    from detectron2.solver import LRMultiplier, WarmupParamScheduler, build_lr_scheduler
else:
    from ..d2lite.solver import LRMultiplier, WarmupParamScheduler, build_lr_scheduler

__all__ = [
    "LRMultiplier",
    "WarmupParamScheduler",
    "build_lr_scheduler",
]
