"""Training loop, hooks and launching, named as in Detectron2."""

from . import hooks
from .launch import DEFAULT_TIMEOUT, launch
from .train_loop import HookBase, TrainerBase

__all__ = ["DEFAULT_TIMEOUT", "HookBase", "TrainerBase", "hooks", "launch"]
