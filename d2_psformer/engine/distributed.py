"""The model of a training that runs in several processes."""

import inspect
import logging

import torch.distributed as dist
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from ..d2.utils import comm

logger = logging.getLogger(__name__)

# The argument that keeps buffers from being sent in every forward pass: torch 2.13 renamed it.
_PARAMETERS = inspect.signature(DistributedDataParallel).parameters
_SYNC = "forward_sync_buffers" if "forward_sync_buffers" in _PARAMETERS else "broadcast_buffers"


def distribute(model: nn.Module) -> nn.Module:
    """Return the model with gradients averaged over the processes, if there are several.

    Batch norms that take their statistics from the images of one process are logged as a warning.
    """
    if comm.get_world_size() == 1:
        return model
    if any(map(_reads_own_images, model.modules())):
        logger.warning(
            "Batch norms take the statistics of each process's own images, so training differs "
            "from that of one process: set MODEL.BACKBONE.NORM to 'SyncBN' (GPUs only) or "
            "'FrozenBN' if a process has few images."
        )
    on_gpu = next(model.parameters()).is_cuda
    device_ids = [comm.get_local_rank()] if on_gpu else None
    return DistributedDataParallel(model, device_ids=device_ids, **{_SYNC: False})


def share_buffers(model: nn.Module) -> None:
    """Give all processes the buffers of the first, whose batch-norm statistics are saved.

    Without it each process would evaluate its images by statistics of its own.
    """
    if comm.get_world_size() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)


def _reads_own_images(module: nn.Module) -> bool:
    is_shared = isinstance(module, nn.SyncBatchNorm)
    return isinstance(module, _BatchNorm) and module.training and not is_shared
