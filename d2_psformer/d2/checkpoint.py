"""Checkpoint files in Detectron2's layout."""

from typing import TYPE_CHECKING, Any

from ..utils.zoo_pickles import read_zoo_pickle
from . import BACKEND

if TYPE_CHECKING or BACKEND == "d2lite":
    from ..d2lite.checkpoint import DetectionCheckpointer
else:
    from detectron2.checkpoint import DetectionCheckpointer as _DetectionCheckpointer

    class DetectionCheckpointer(_DetectionCheckpointer):
        """Detectron2's checkpointer, except that a ``.pkl`` file cannot run code."""

        def _load_file(self, filename: str) -> dict[str, Any]:
            if filename.endswith(".pkl"):
                return read_zoo_pickle(filename)
            return super()._load_file(filename)
