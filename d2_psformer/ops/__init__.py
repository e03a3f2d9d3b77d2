"""Multi-scale deformable attention: two public functions and the kernels behind them.

``python -m d2_psformer.ops`` shows which kernels there are; ``… build`` compiles them.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .functions import fused_ms_deform_attn, ms_deform_attn

__all__ = ["fused_ms_deform_attn", "ms_deform_attn"]


def __getattr__(name: str):
    """Import torch only when a function is asked for: the command's help needs none."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import functions

    return getattr(functions, name)
