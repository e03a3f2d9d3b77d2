"""Communication between the processes of one training; every call also works with one process."""

import functools
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

_local_group: dist.ProcessGroup | None = None


def _is_distributed() -> bool:
    return dist.is_available() and dist.is_initialized()


def get_world_size() -> int:
    """Number of processes on all machines."""
    return dist.get_world_size() if _is_distributed() else 1


def get_rank() -> int:
    """Index of this process among all."""
    return dist.get_rank() if _is_distributed() else 0


def is_main_process() -> bool:
    """True in process 0, the one that writes files."""
    return get_rank() == 0


def create_local_process_group(num_workers_per_machine: int) -> None:
    """Make the groups of processes that share a machine; all processes must call it together.

    ``launch`` does so. Processes started in another way call it once after
    ``torch.distributed.init_process_group``, before :func:`get_local_rank`.
    """
    global _local_group
    _local_group, _ = dist.new_subgroups(num_workers_per_machine)


def get_local_rank() -> int:
    """Index of this process among those of its machine."""
    if not _is_distributed():
        return 0
    if _local_group is None:
        raise RuntimeError(
            "No local process group: start processes with launch(), or call "
            "comm.create_local_process_group() after torch.distributed.init_process_group()."
        )
    return dist.get_rank(_local_group)


def synchronize() -> None:
    """Wait until every process is here."""
    if get_world_size() == 1:
        return
    if dist.get_backend() == dist.Backend.NCCL:
        dist.barrier(device_ids=[torch.cuda.current_device()])
    else:
        dist.barrier()


def _cpu_group() -> dist.ProcessGroup:
    """All processes over gloo, so that gathered objects take no GPU memory."""
    if dist.get_backend() == dist.Backend.NCCL:
        return _gloo_group_beside_nccl()
    # Not cached: the threads of a group that is still referenced may free Python objects while
    # the interpreter ends, which aborts the process.
    return dist.group.WORLD


@functools.cache
def _gloo_group_beside_nccl() -> dist.ProcessGroup:
    return dist.new_group(backend="gloo")


def all_gather(data: Any) -> list[Any]:
    """Every process's picklable ``data``, by rank, on every process."""
    if get_world_size() == 1:
        return [data]
    gathered = [None] * get_world_size()
    dist.all_gather_object(gathered, data, group=_cpu_group())
    return gathered


def gather(data: Any, dst: int = 0) -> list[Any]:
    """Every process's picklable ``data``, by rank, on process ``dst``; an empty list elsewhere."""
    if get_world_size() == 1:
        return [data]
    gathered = [None] * get_world_size() if get_rank() == dst else None
    dist.gather_object(data, gathered, dst=dst, group=_cpu_group())
    return gathered or []


def shared_random_seed() -> int:
    """A random number below 2^31, the same on every process; all processes must call it."""
    return all_gather(int(np.random.randint(2**31)))[0]
