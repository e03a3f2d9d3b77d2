"""Checkpoint files in Detectron2's layout: ``{"model", "trainer", "iteration"}``."""

from fvcore.common.checkpoint import Checkpointer, PeriodicCheckpointer

from .detection_checkpoint import DetectionCheckpointer
from .zoo_pickles import read_zoo_pickle

__all__ = ["Checkpointer", "DetectionCheckpointer", "PeriodicCheckpointer", "read_zoo_pickle"]
