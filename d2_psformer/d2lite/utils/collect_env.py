"""The platform and the package versions, for the head of a log and for bug reports."""

import importlib.metadata
import platform
import sys

import torch
from tabulate import tabulate

_PACKAGES = ("torchvision", "timm", "numpy", "scipy", "fvcore", "iopath", "pycocotools", "pillow")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def collect_env_info() -> str:
    """A table of platform, Python, packages and GPUs, then torch's own build settings."""
    rows = [
        ("platform", platform.platform()),
        ("Python", sys.version.replace("\n", "")),
        ("torch", torch.__version__),
        *((package, _version(package)) for package in _PACKAGES),
        ("CPU threads", torch.get_num_threads()),
        ("CUDA of torch", torch.version.cuda or torch.version.hip),
        *((f"GPU {i}", torch.cuda.get_device_name(i)) for i in range(torch.cuda.device_count())),
    ]
    return f"{tabulate(rows)}\n{torch.__config__.show()}"
