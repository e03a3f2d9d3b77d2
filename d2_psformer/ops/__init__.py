"""Multi-scale deformable attention behind one public function."""

from .ms_deform_attn import ms_deform_attn

__all__ = ["ms_deform_attn"]
