"""Starting the processes of a command, and ending them."""

import argparse
import os
from collections.abc import Callable

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from ..d2.engine import launch
from ..d2.utils import comm
from ..utils.errors import CarriedError, UserError, is_user_error

Main = Callable[[argparse.Namespace], object]


def run(main: Main, args: argparse.Namespace) -> None:
    """Call ``main(args)`` in every process: those of torchrun, or ``--num-gpus`` new ones.

    An error that a user can fix is raised here as it was in the process that failed.
    """
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        _join_processes_of_torchrun()
        main(args)
        comm.synchronize()  # no process leaves while others still communicate with it
        dist.destroy_process_group()
        return
    if args.num_gpus < 1 or args.num_machines < 1:
        raise UserError("--num-gpus and --num-machines must be at least 1, on a CPU too.")
    # Without any GPU the processes, in any number, use the CPU.
    if args.num_gpus > (found := torch.cuda.device_count()) > 0:
        raise UserError(
            f"--num-gpus is {args.num_gpus}, but this machine has {found}: give at most that."
        )
    if args.num_gpus * args.num_machines == 1:
        main(args)
        return
    errors = mp.get_context("spawn").SimpleQueue()
    try:
        launch(
            _Carrying(main, errors),
            args.num_gpus,
            num_machines=args.num_machines,
            machine_rank=args.machine_rank,
            dist_url=args.dist_url,
            args=(args,),
        )
    except (mp.ProcessRaisedException, mp.ProcessExitedException):
        if errors.empty():
            raise
        errors.get().throw()


class _Carrying:
    """``main``, which puts an error that a user can fix into a queue before it raises it.

    PyTorch carries only its text to the process that has started this one.
    """

    def __init__(self, main: Main, errors):
        self.main, self.errors = main, errors

    def __call__(self, args: argparse.Namespace) -> None:
        try:
            self.main(args)
        except Exception as error:
            if is_user_error(error):
                self.errors.put(CarriedError(error))
            raise


def _join_processes_of_torchrun() -> None:
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if on_gpu else "gloo")
    comm.create_local_process_group(int(os.environ["LOCAL_WORLD_SIZE"]))
