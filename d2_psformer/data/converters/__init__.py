"""Conversion of annotation between formats, for training and of predictions."""

from .conversion import READERS, Summary, convert
from .records import Source
from .targets import TARGETS

__all__ = ["READERS", "TARGETS", "Source", "Summary", "convert"]
