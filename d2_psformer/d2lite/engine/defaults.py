"""The command line of training, and the set-up of a run."""

import argparse
import os
import sys

import torch

from ..config import CfgNode
from ..utils import comm
from ..utils.collect_env import collect_env_info
from ..utils.env import seed_all_rng
from ..utils.file_io import PathManager
from ..utils.logger import setup_logger

_EXAMPLES = """
Examples:
  one machine:      {prog} --num-gpus 8 --config-file FILE.yaml
  other settings:   {prog} --config-file FILE.yaml MODEL.WEIGHTS model.pth SOLVER.BASE_LR 0.001
  two machines:     {prog} --num-machines 2 --machine-rank 0 --dist-url tcp://HOST:PORT ...
                    {prog} --num-machines 2 --machine-rank 1 --dist-url tcp://HOST:PORT ...
"""


def default_argument_parser(epilog: str | None = None) -> argparse.ArgumentParser:
    """The options that training commands share."""
    parser = argparse.ArgumentParser(
        epilog=epilog or _EXAMPLES.format(prog=sys.argv[0]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config-file", default="", metavar="FILE", help="YAML file of settings")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="resume from the last checkpoint in OUTPUT_DIR, if there is one",
    )
    parser.add_argument("--eval-only", action="store_true", help="evaluate, do not train")
    parser.add_argument("--num-gpus", type=int, default=1, help="processes on this machine")
    parser.add_argument("--num-machines", type=int, default=1, help="machines in all")
    parser.add_argument("--machine-rank", type=int, default=0, help="this machine, from 0")
    parser.add_argument(
        "--dist-url",
        default=f"tcp://127.0.0.1:{_port_of_user()}",
        help="where the processes meet, as tcp://host:port, or 'auto' on one machine",
    )
    parser.add_argument(
        "opts",
        nargs=argparse.REMAINDER,
        default=None,
        help="settings that replace those of the file: KEY VALUE KEY VALUE ..., at the very end",
    )
    return parser


def _port_of_user() -> int:
    """A port above 49151, the same for every run of a user: orphaned processes are noticed."""
    user = os.getuid() if hasattr(os, "getuid") else 1
    return 2**15 + 2**14 + user % 2**14


def default_setup(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Loggers, a log of environment, arguments and config, ``OUTPUT_DIR/config.yaml``, seeds."""
    output_dir = cfg.OUTPUT_DIR
    is_main = comm.is_main_process()
    if is_main and output_dir:
        PathManager.mkdirs(output_dir)
    rank = comm.get_rank()
    setup_logger(output_dir or None, distributed_rank=rank, name="fvcore")
    logger = setup_logger(output_dir or None, distributed_rank=rank)

    logger.info("Rank of current process: %d. World size: %d", rank, comm.get_world_size())
    logger.info("Environment info:\n%s", collect_env_info())
    logger.info("Command line arguments: %s", args)
    config_file = getattr(args, "config_file", "")
    if config_file:
        with PathManager.open(config_file, "r") as file:
            logger.info("Contents of args.config_file=%s:\n%s", config_file, file.read())
    if is_main and output_dir:
        logger.info("Running with full config:\n%s", cfg.dump())
        path = os.path.join(output_dir, "config.yaml")
        with PathManager.open(f"{path}.tmp", "w") as file:
            file.write(cfg.dump())
        os.replace(f"{path}.tmp", path)  # never half a file
        logger.info("Full config saved to %s", path)

    # Processes must not draw the same random numbers.
    seed_all_rng(None if cfg.SEED < 0 else cfg.SEED + rank)
    if not getattr(args, "eval_only", False):
        torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK
    if cfg.FLOAT32_PRECISION and torch.cuda.is_available():
        torch.set_float32_matmul_precision(cfg.FLOAT32_PRECISION)
        torch.backends.cudnn.allow_tf32 = cfg.FLOAT32_PRECISION != "highest"
