"""Checkpoint files in Detectron2's layout."""

from typing import Any

from . import BACKEND

if BACKEND == "detectron2":
    from detectron2.checkpoint import Checkpointer, PeriodicCheckpointer
    from detectron2.checkpoint import DetectionCheckpointer as _DetectionCheckpointer

    from ..d2lite.checkpoint import read_zoo_pickle

    class DetectionCheckpointer(_DetectionCheckpointer):
        """Detectron2's, except that a ``.pkl`` file cannot run code."""

        def _load_file(self, filename: str) -> dict[str, Any]:
            if filename.endswith(".pkl"):
                return read_zoo_pickle(filename)
            return super()._load_file(filename)

else:
    from ..d2lite.checkpoint import Checkpointer, DetectionCheckpointer, PeriodicCheckpointer

__all__ = [
    "Checkpointer",
    "DetectionCheckpointer",
    "PeriodicCheckpointer",
]
