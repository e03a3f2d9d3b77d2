"""Models and their parts; importing registers backbones and architectures."""

from . import backbone, meta_arch

__all__ = ["backbone", "meta_arch"]
