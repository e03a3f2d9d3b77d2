"""Checkpoint files in Detectron2's layout: ``{"model", "trainer", "iteration"}``."""

from .detection_checkpoint import DetectionCheckpointer
from .zoo_pickles import read_zoo_pickle

__all__ = ["DetectionCheckpointer", "read_zoo_pickle"]
