"""Checkpoint files in Detectron2's layout: ``{"model", "trainer", "iteration"}``."""

from .detection_checkpoint import DetectionCheckpointer

__all__ = ["DetectionCheckpointer"]
