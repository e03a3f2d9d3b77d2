"""What the figures were measured on."""

import platform

import torch


def describe_machine(device: str = "cpu") -> dict[str, str | int]:
    """Names and versions that belong to every figure."""
    known = {
        "cpu": _cpu_name(),
        "cpu capability": torch.backends.cpu.get_cpu_capability(),
        "blas": "MKL" if torch.backends.mkl.is_available() else "other",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    if device == "cuda":
        known["gpu"] = torch.cuda.get_device_name()
        known["cuda"] = str(torch.version.cuda)
    return known


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            fields = dict(line.split(":", 1) for line in file if ":" in line)
        names = {key.strip(): value.strip() for key, value in fields.items()}
        return f"{names['model name']} (family {names['cpu family']}, model {names['model']})"
    except (OSError, KeyError):
        return platform.processor() or platform.machine()
