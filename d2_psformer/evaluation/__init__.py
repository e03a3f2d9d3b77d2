"""Panoptic quality, semantic and instance measures, and submission files.

The names are those of :mod:`.public`; the evaluation of files needs no torch.
"""

from typing import TYPE_CHECKING

from ..utils.lazy import names_of

if TYPE_CHECKING:
    from .public import *  # noqa: F403

__getattr__ = names_of(__name__)
