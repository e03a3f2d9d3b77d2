"""Trainer base, hooks and launching."""

from typing import TYPE_CHECKING

from . import from_backend

if TYPE_CHECKING:
    from ..d2lite.engine import HookBase, TrainerBase, hooks, launch
else:
    __getattr__ = from_backend("engine")
