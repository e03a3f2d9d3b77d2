"""Panoptic SegFormer and its relatives as a Detectron2 project."""

from .config import add_psformer_config

__all__ = ["add_psformer_config"]
