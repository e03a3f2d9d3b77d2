"""Trainer base, hooks, launching and set-up."""

from . import BACKEND

if BACKEND == "detectron2":
    from detectron2.engine import (
        DefaultPredictor,
        HookBase,
        TrainerBase,
        default_argument_parser,
        default_setup,
        default_writers,
        hooks,
        launch,
    )
else:
    from ..d2lite.engine import (
        DefaultPredictor,
        HookBase,
        TrainerBase,
        default_argument_parser,
        default_setup,
        default_writers,
        hooks,
        launch,
    )

__all__ = [
    "DefaultPredictor",
    "HookBase",
    "TrainerBase",
    "default_argument_parser",
    "default_setup",
    "default_writers",
    "hooks",
    "launch",
]
