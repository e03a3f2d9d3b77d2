"""Trained models as files for other programs: ONNX, torch.export, slim safetensors."""

from .files import FORMATS, write_onnx, write_program, write_safetensors
from .network import ExportedNetwork, trace
from .settings import deployment_settings
from .verification import check_differences, largest_differences

__all__ = [
    "FORMATS",
    "ExportedNetwork",
    "check_differences",
    "deployment_settings",
    "largest_differences",
    "trace",
    "write_onnx",
    "write_program",
    "write_safetensors",
]
