"""Trainer base, hooks, launching and set-up."""

from typing import TYPE_CHECKING

from . import from_backend

if TYPE_CHECKING:
    from ..d2lite.engine import (
        HookBase,
        TrainerBase,
        default_argument_parser,
        default_setup,
        hooks,
        launch,
    )
else:
    __getattr__ = from_backend("engine")
