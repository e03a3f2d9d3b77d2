"""What this machine runs on, for the head of a log and for bug reports."""

import importlib.metadata
import platform
import sys

import torch
from tabulate import tabulate

_PACKAGES = ("torchvision", "timm", "numpy", "scipy", "fvcore", "iopath", "pycocotools", "pillow")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def collect_env_info() -> str:
    """A table of platform, Python, packages and GPUs, then torch's own build settings."""
    rows = [("platform", platform.platform()), ("Python", sys.version.replace("\n", ""))]
    rows.append(("torch", torch.__version__))
    rows += [(package, version) for package in _PACKAGES if (version := _version(package))]
    rows.append(("CPU threads", torch.get_num_threads()))
    if torch.cuda.is_available():
        rows += [
            (f"GPU {index}", torch.cuda.get_device_name(index))
            for index in range(torch.cuda.device_count())
        ]
        rows.append(("CUDA of torch", torch.version.cuda or torch.version.hip))
    else:
        rows.append(("GPU", "none"))
    return f"{tabulate(rows)}\n{torch.__config__.show()}"
