"""Starting the processes of a command, and ending them."""

import argparse
import logging
import os
import sys
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import urlsplit

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from ..d2.engine import launch
from ..d2.utils import comm
from ..utils.errors import CarriedError, UserError, is_user_error
from ..utils.parent import end_with_parent
from ..utils.wording import counted
from .interruption import Interrupted, pass_signals_on

Main = Callable[[argparse.Namespace], object]

# The others wait so long for the main process, which computes the figures of an evaluation alone.
_TIMEOUT = timedelta(minutes=30)
_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def run(main: Main, args: argparse.Namespace) -> None:
    """Call ``main(args)`` in every process: those of torchrun, or ``--num-gpus`` new ones.

    An error that a user can fix is raised here as it was in the process that failed.

    Raises:
        UserError: the options do not fit together or this machine, or the processes do not meet.
    """
    if "LOCAL_RANK" in os.environ:  # clusters set RANK and WORLD_SIZE without torchrun
        if "TORCHELASTIC_RUN_ID" in os.environ:
            end_with_parent(os.getppid())  # torchrun
        _join_processes_of_torchrun(args)
        status = _status_of(main, args)
        comm.synchronize()  # no process leaves while others still communicate with it
        dist.destroy_process_group()
        if status:
            sys.exit(status)
        return
    _check(args)
    if args.num_gpus * args.num_machines == 1:
        main(args)
        return
    errors = mp.get_context("spawn").SimpleQueue()
    with pass_signals_on() as received:
        try:
            _launch(main, args, errors)
        finally:
            if received:  # however the processes have ended
                sys.exit(128 + received[0])


def _status_of(main: Main, args: argparse.Namespace) -> int:
    """Call ``main(args)``; return the exit status, which is not 0 if it was interrupted."""
    try:
        main(args)
    except Interrupted as interrupted:
        if not interrupted.together:
            logging.shutdown()
            # The first process saves: its end may end the others, but not the other way round.
            os._exit(interrupted.code if comm.is_main_process() else 0)
        return interrupted.code
    return 0


def _launch(main: Main, args: argparse.Namespace, errors) -> None:
    try:
        launch(
            _Carrying(main, errors),
            args.num_gpus,
            num_machines=args.num_machines,
            machine_rank=args.machine_rank,
            dist_url=args.dist_url,
            args=(args,),
            timeout=_TIMEOUT,
        )
    except (mp.ProcessRaisedException, mp.ProcessExitedException) as error:
        if not errors.empty():
            errors.get().throw()
        if isinstance(error, mp.ProcessExitedException):
            if not error.signal_name:
                sys.exit(error.exit_code)
            raise UserError(
                f"Process {error.error_index} of {args.num_gpus} on this machine (process id "
                f"{error.error_pid}) was ended by {error.signal_name}, and the others with it: if "
                "memory ran out, lower SOLVER.IMS_PER_BATCH or DATALOADER.NUM_WORKERS; continue "
                "with --resume."
            ) from error
        if "torch.distributed.Dist" in str(error):  # DistNetworkError, DistStoreError
            reason = str(error).strip().splitlines()[-1]
            raise UserError(
                f"The processes cannot meet at --dist-url {args.dist_url}: start the same command "
                f"on {counted(args.num_machines, 'machine')}, each with its own --machine-rank, "
                f"with the address of machine 0 and a port that is free there ({reason})"
            ) from error
        raise
    if not errors.empty():
        errors.get().throw()


class _Carrying:
    """``main``, which puts into a queue an error that a user can fix, or its exit status.

    PyTorch carries only the text of an error, and no status, to the process that has started this
    one. That process need not have received the signal which ended this one.
    """

    def __init__(self, main: Main, errors):
        self.main, self.errors, self.parent = main, errors, os.getpid()

    def __setstate__(self, state: dict) -> None:
        """The first that runs in a new process, which later waits long for the others."""
        self.__dict__.update(state)
        end_with_parent(self.parent)

    def __call__(self, args: argparse.Namespace) -> None:
        try:
            if status := _status_of(self.main, args):
                self.errors.put(CarriedError(SystemExit(status)))
        except Exception as error:
            if is_user_error(error):
                self.errors.put(CarriedError(error))
            raise


def _check(args: argparse.Namespace) -> None:
    if args.num_gpus < 1 or args.num_machines < 1:
        raise UserError("--num-gpus and --num-machines must be at least 1, on a CPU too.")
    _check_gpus("--num-gpus", args.num_gpus)
    if args.num_machines == 1:
        return
    if not 0 <= args.machine_rank < args.num_machines:
        raise UserError(
            f"--machine-rank is {args.machine_rank}: the machines of --num-machines "
            f"{args.num_machines} have the numbers 0...{args.num_machines - 1}."
        )
    try:
        url = urlsplit(args.dist_url)
        is_address = url.scheme == "tcp" and url.hostname and url.port is not None
    except ValueError:  # its port is no number, or too large
        is_address = False
    if not is_address:
        raise UserError(
            f"--dist-url is '{args.dist_url}': several machines need tcp://HOST:PORT, the address "
            "of machine 0 and a port that is free there."
        )


def _check_gpus(option: str, processes: int) -> None:
    # Without any GPU the processes, in any number, use the CPU.
    if processes > (found := torch.cuda.device_count()) > 0:
        raise UserError(
            f"{option} is {processes}, but this machine has {found}: give at most that."
        )


def _join_processes_of_torchrun(args: argparse.Namespace) -> None:
    if missing := [name for name in _TORCHRUN if name not in os.environ]:
        raise UserError(
            f"LOCAL_RANK is set, but not {', '.join(missing)}: start the processes by torchrun, or "
            "unset it."
        )
    if args.num_gpus > 1 or args.num_machines > 1:
        raise UserError(
            "torchrun has started the processes: leave out --num-gpus and --num-machines, and give "
            "torchrun --nproc-per-node and --nnodes."
        )
    processes = int(os.environ["LOCAL_WORLD_SIZE"])
    _check_gpus("--nproc-per-node", processes)
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if on_gpu else "gloo", timeout=_TIMEOUT)
    comm.create_local_process_group(processes)
