"""One process a GPU, or several CPU processes, joined in a process group."""

import logging
import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from ..errors import UserError
from ..utils import comm

logger = logging.getLogger(__name__)

DEFAULT_TIMEOUT = timedelta(minutes=30)


def launch(
    main_func: Callable,
    num_gpus_per_machine: int,
    num_machines: int = 1,
    machine_rank: int = 0,
    dist_url: str | None = None,
    args: tuple = (),
    timeout: timedelta = DEFAULT_TIMEOUT,
) -> None:
    """Call ``main_func(*args)`` in ``num_gpus_per_machine`` processes on every machine.

    Call it on all machines. The group uses NCCL where there are GPUs, else GLOO. A single process
    in total needs no group: ``main_func`` is called in this process.

    Args:
        num_gpus_per_machine: processes on each machine, GPUs or not.
        dist_url: where the processes meet, as "tcp://host:port"; "auto" takes a free port here.
        timeout: how long one process waits for the others.
    """
    world_size = num_machines * num_gpus_per_machine
    if world_size == 1:
        main_func(*args)
        return
    if dist_url == "auto":
        if num_machines > 1:
            raise UserError("--dist-url auto works on one machine only: name host and port.")
        dist_url = f"tcp://127.0.0.1:{_find_free_port()}"
    group = {"init_method": dist_url, "world_size": world_size, "timeout": timeout}
    first_rank = machine_rank * num_gpus_per_machine
    worker_args = (main_func, args, num_gpus_per_machine, first_rank, group)
    mp.start_processes(_work, nprocs=num_gpus_per_machine, args=worker_args, daemon=False)


def _find_free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


def _work(
    local_rank: int,
    main_func: Callable,
    args: tuple,
    num_gpus: int,
    first_rank: int,
    group: dict[str, Any],
) -> None:
    """One process of a machine whose processes have ranks from ``first_rank`` on."""
    has_gpu = torch.cuda.is_available()
    if has_gpu and num_gpus > (found := torch.cuda.device_count()):
        raise UserError(f"{num_gpus} GPUs are required, but this machine has {found}.")
    try:
        dist.init_process_group(
            "nccl" if has_gpu else "gloo", rank=first_rank + local_rank, **group
        )
    except Exception:
        logger.error("Process group URL: %s", group["init_method"])
        raise
    comm.create_local_process_group(num_gpus)
    if has_gpu:
        torch.cuda.set_device(local_rank)
    # A process that ran ahead could time out while slower ones are still setting up.
    comm.synchronize()
    main_func(*args)
    # No process ends while others still communicate with it.
    comm.synchronize()
    dist.destroy_process_group()
