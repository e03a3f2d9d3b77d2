"""Learning-rate schedules."""

from typing import TYPE_CHECKING

from . import from_backend

if TYPE_CHECKING:
    from ..d2lite.solver import LRMultiplier, build_lr_scheduler
else:
    __getattr__ = from_backend("solver")
