"""Multi-scale deformable attention: two public functions, and the kernels that serve them.

The library for the CPU has kernels for two layers more: ``dropout_kernel``, ``winograd_kernel``.

``python -m d2_psformer.ops`` tells which kernels there are; ``… build`` compiles them.
"""

from .backends import has_kernel
from .functions import fused_ms_deform_attn, ms_deform_attn

__all__ = ["fused_ms_deform_attn", "has_kernel", "ms_deform_attn"]
