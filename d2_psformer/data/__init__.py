"""Data sets and how they become samples.

The names are those of :mod:`.public`, whose import, at the first use of one of them, registers the
built-in data sets. Modules about files alone, such as :mod:`.panoptic_png`, need no torch.
"""

from typing import TYPE_CHECKING

from ..utils.lazy import names_of

if TYPE_CHECKING:
    from .public import *  # noqa: F403

__getattr__ = names_of(__name__)
