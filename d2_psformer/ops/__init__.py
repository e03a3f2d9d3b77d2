"""Multi-scale deformable attention: two public functions and the kernels behind them.

``python -m d2_psformer.ops`` shows which kernels there are; ``… build`` compiles them.
"""

from .functions import fused_ms_deform_attn, ms_deform_attn

__all__ = ["fused_ms_deform_attn", "ms_deform_attn"]
