"""Training loop, hooks, launching and set-up, named as in Detectron2."""

from . import hooks
from .defaults import default_argument_parser, default_setup
from .launch import DEFAULT_TIMEOUT, launch
from .train_loop import HookBase, TrainerBase

__all__ = [
    "DEFAULT_TIMEOUT",
    "HookBase",
    "TrainerBase",
    "default_argument_parser",
    "default_setup",
    "hooks",
    "launch",
]
