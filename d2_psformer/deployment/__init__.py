"""Exported models at work: NumPy, Pillow and onnxruntime are all that it needs.

The folder can be copied out of the package; ``python -m d2_psformer.deployment --help`` is its
command.
"""

from .model import Model, Result

__all__ = ["Model", "Result"]
