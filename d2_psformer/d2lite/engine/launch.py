"""One process a GPU (or one CPU process a worker), joined in a process group."""

import logging
import socket
from collections.abc import Callable
from datetime import timedelta

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from ..errors import UserError
from ..utils import comm

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
    worker_args = (main_func, world_size, num_gpus_per_machine, machine_rank, dist_url, args)
    mp.start_processes(
        _distributed_worker, nprocs=num_gpus_per_machine, args=(*worker_args, timeout), daemon=False
    )


def _find_free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


def _distributed_worker(
    local_rank: int,
    main_func: Callable,
    world_size: int,
    num_gpus_per_machine: int,
    machine_rank: int,
    dist_url: str,
    args: tuple,
    timeout: timedelta,
) -> None:
    has_gpu = torch.cuda.is_available()
    if has_gpu and num_gpus_per_machine > torch.cuda.device_count():
        raise UserError(
            f"{num_gpus_per_machine} GPUs are required, but this machine has "
            f"{torch.cuda.device_count()}."
        )
    try:
        dist.init_process_group(
            backend="nccl" if has_gpu else "gloo",
            init_method=dist_url,
            world_size=world_size,
            rank=machine_rank * num_gpus_per_machine + local_rank,
            timeout=timeout,
        )
    except Exception:
        logging.getLogger(__name__).error("Process group URL: %s", dist_url)
        raise
    comm.create_local_process_group(num_gpus_per_machine)
    if has_gpu:
        torch.cuda.set_device(local_rank)
    # A process that ran ahead could time out while slower ones are still setting up.
    comm.synchronize()
    main_func(*args)
    # No process ends while others still communicate with it.
    comm.synchronize()
    dist.destroy_process_group()
