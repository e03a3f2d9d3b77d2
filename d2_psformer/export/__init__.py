"""Trained models as files for other programs: ONNX, torch.export, slim safetensors."""

from .export import export, export_safetensors

__all__ = ["export", "export_safetensors"]
