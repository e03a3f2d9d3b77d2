"""Panoptic SegFormer and its relatives as a Detectron2 project."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .config import add_psformer_config

__all__ = ["add_psformer_config"]


def __getattr__(name: str):
    """Import what needs torch only when it is asked for, so that commands answer at once."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .config import add_psformer_config

    return add_psformer_config
