"""From the command line to a frozen config, logs and data sets."""

import argparse
import logging
import os
import sys

import torch

from ..config import add_psformer_config
from ..d2.config import CfgNode, get_cfg, read_config_file
from ..d2.engine import TrainerBase, default_setup
from ..d2.utils import comm, setup_logger
from ..data import register_from_config
from ..model_zoo import get_config_file
from ..utils.errors import UserError
from .freed_memory import keep_freed_memory

logger = logging.getLogger(__name__)

# What fvcore and yacs raise for unknown keys and values of another type.
_CONFIG_ERRORS = (KeyError, ValueError, AssertionError)


def setup(args: argparse.Namespace) -> CfgNode:
    """Read the config, register its data sets, set up logs, OUTPUT_DIR, seeds and CPU memory.

    Args:
        args: of Detectron2's ``default_argument_parser``; ``config_file`` and ``opts`` are read.

    Returns:
        the frozen config; MODEL.DEVICE is "cpu" where no GPU is.
    """
    # default_setup logs the content of the file.
    args = argparse.Namespace(**vars(args) | {"config_file": find_config(args.config_file)})
    cfg = load_config(args.config_file, args.opts)
    register_from_config(cfg)
    falls_back = cfg.MODEL.DEVICE.startswith("cuda") and not torch.cuda.is_available()
    if falls_back:
        cfg.MODEL.DEVICE = "cpu"
    if cfg.MODEL.DEVICE == "cpu":
        keep_freed_memory()
    cfg.freeze()
    default_setup(cfg, args)
    setup_logger(cfg.OUTPUT_DIR or None, distributed_rank=comm.get_rank(), name="d2_psformer")
    _show_errors_once()
    if falls_back:
        logger.warning("No CUDA device found: running on the CPU.")
    return cfg


def _show_errors_once() -> None:
    """The training loop logs an error and raises it: the terminal shows it at the end alone."""
    loop = TrainerBase.__module__
    for handler in logging.getLogger(loop.partition(".engine.")[0]).handlers:
        if getattr(handler, "stream", None) is sys.stdout:
            handler.addFilter(lambda record: record.name != loop or not record.exc_info)


def find_config(path_or_name: str) -> str:
    """Path of a config: of the file if there is one, else of the model zoo's config of this name.

    Raises:
        UserError: there is neither.
    """
    return path_or_name if os.path.isfile(path_or_name) else get_config_file(path_or_name)


def load_config(config_file: str, opts: list[str] | None = None) -> CfgNode:
    """Defaults, then a YAML file with its ``_BASE_``, then "KEY VALUE" pairs; not frozen.

    No config file can run code.

    Args:
        config_file: a path, or a name of :mod:`d2_psformer.model_zoo`.
        opts: keys and values in turns.

    Raises:
        FileNotFoundError: a ``_BASE_`` file is missing.
        UserError: one sentence naming the file or key.
    """
    cfg = get_cfg()
    add_psformer_config(cfg)
    config_file = find_config(config_file)
    content = read_config_file(config_file)
    try:
        cfg.merge_from_other_cfg(CfgNode(content))
    except _CONFIG_ERRORS as error:
        raise UserError(f"Config file '{config_file}': {_one_line(error)}.") from error
    try:
        cfg.merge_from_list(list(opts or []))
    except _CONFIG_ERRORS as error:
        raise UserError(f"Settings on the command line: {_one_line(error)}.") from error
    return cfg


def _one_line(error: Exception) -> str:
    # str() of a KeyError has quotes around it, and YAML's messages are of several lines
    text = error.args[0] if isinstance(error, KeyError) else str(error)
    return f"{' '.join(text.split())} (see d2_psformer/config.py and Detectron2's for all keys)"
