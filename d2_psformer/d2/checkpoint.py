"""Checkpoint files in Detectron2's layout."""

from . import BACKEND

if BACKEND == "detectron2":
    from detectron2.checkpoint import Checkpointer, DetectionCheckpointer, PeriodicCheckpointer
else:
    from ..d2lite.checkpoint import Checkpointer, DetectionCheckpointer, PeriodicCheckpointer

__all__ = [
    "Checkpointer",
    "DetectionCheckpointer",
    "PeriodicCheckpointer",
]
