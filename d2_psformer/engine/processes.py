"""Starting the processes of a command, and ending them."""

import argparse
import os
from collections.abc import Callable

import torch
import torch.distributed as dist

from ..command_errors import told_in_one_sentence
from ..d2.engine import launch
from ..d2.utils import comm


@told_in_one_sentence()
def run(main: Callable[[argparse.Namespace], object], args: argparse.Namespace) -> None:
    """Call ``main(args)`` in every process: those of torchrun, or ``--num-gpus`` new ones.

    Errors that users can mend end the command in one sentence; in processes of torchrun, which are
    commands of their own, each of those that fail.
    """
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        _join_processes_of_torchrun()
        main(args)
        comm.synchronize()  # nobody leaves while others still talk to it
        dist.destroy_process_group()
        return
    # Without any GPU the processes use the CPU, as many as one likes.
    if args.num_gpus > (found := torch.cuda.device_count()) > 0:
        raise ValueError(
            f"--num-gpus is {args.num_gpus}, but this machine has {found}: give at most that."
        )
    launch(
        main,
        args.num_gpus,
        num_machines=args.num_machines,
        machine_rank=args.machine_rank,
        dist_url=args.dist_url,
        args=(args,),
    )


def _join_processes_of_torchrun() -> None:
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if on_gpu else "gloo")
    comm.create_local_process_group(int(os.environ["LOCAL_WORLD_SIZE"]))
