"""What losses are divided by, alike in all processes."""

import torch.distributed as dist
from torch import Tensor

from .targets import Targets


def mean_segments(targets: list[Targets]) -> Tensor:
    """Segments of an image, the mean over all images of all processes, at least 1: a scalar."""
    mean = targets[0].boxes.new_tensor(_segments(targets) / len(targets))
    return mean_over_processes(mean).clamp(min=1)


def total_segments(targets: list[Targets]) -> Tensor:
    """Segments of a batch, the mean over all processes, at least 1: a scalar."""
    return mean_over_processes(targets[0].boxes.new_tensor(_segments(targets))).clamp(min=1)


def mean_over_processes(value: Tensor) -> Tensor:
    """The mean of ``value``, which is overwritten, over all processes."""
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(value)
        value /= dist.get_world_size()
    return value


def _segments(targets: list[Targets]) -> int:
    return sum(map(len, targets))
