"""Training loop, hooks, launching and set-up, named as in Detectron2."""

from . import hooks
from .defaults import (
    DefaultPredictor,
    default_argument_parser,
    default_setup,
    default_writers,
)
from .launch import DEFAULT_TIMEOUT, launch
from .train_loop import HookBase, TrainerBase

__all__ = [
    "DEFAULT_TIMEOUT",
    "DefaultPredictor",
    "HookBase",
    "TrainerBase",
    "default_argument_parser",
    "default_setup",
    "default_writers",
    "hooks",
    "launch",
]
