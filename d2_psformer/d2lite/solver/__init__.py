"""Learning-rate schedules."""

from .build import build_lr_scheduler
from .lr_scheduler import LRMultiplier, WarmupParamScheduler

__all__ = ["LRMultiplier", "WarmupParamScheduler", "build_lr_scheduler"]
