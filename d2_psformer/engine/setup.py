"""From the command line to a frozen config, logs and data sets."""

import argparse
import logging
import os
import sys

import torch

from ..config import changed_keys, check_values, default_config
from ..d2.config import CfgNode
from ..d2.engine import TrainerBase
from ..d2.utils import collect_env_info, comm, setup_logger
from ..data import register_from_config
from ..data.description import read_data_yaml
from ..model_zoo import get_config_file
from ..official_configs import Translation, translate_official
from ..utils.files import atomic_write
from .evaluate import check_weights
from .output_folder import claim_folder
from .stored_config import is_checkpoint, read_stored_config

logger = logging.getLogger(__name__)


def setup(args: argparse.Namespace) -> CfgNode:
    """Read the config, register its data sets, claim OUTPUT_DIR, and set up logs and CUDA.

    Args:
        args: ``config_file``, ``opts``, ``eval_only``, ``resume`` and perhaps ``data`` of the
            command line.

    Returns:
        The frozen config; MODEL.DEVICE is "cpu" where no GPU is.

    Raises:
        UserError: something is wrong with them, or OUTPUT_DIR is another training's.
    """
    cfg, translation = _read_config(args.config_file, args.opts, getattr(args, "data", None))
    register_from_config(cfg)
    falls_back = cfg.MODEL.DEVICE.startswith("cuda") and not torch.cuda.is_available()
    if falls_back:
        cfg.MODEL.DEVICE = "cpu"
    cfg.freeze()
    # Before the first file is written.
    if args.eval_only:
        check_weights(cfg, args.resume)
    else:
        claim_folder(cfg.OUTPUT_DIR, args.resume)
    _start_logs(cfg, args)
    if translation:
        translation.log()
    if falls_back:
        logger.warning("No CUDA device found: running on the CPU.")
    torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK and not args.eval_only
    if cfg.FLOAT32_PRECISION and torch.cuda.is_available():
        torch.set_float32_matmul_precision(cfg.FLOAT32_PRECISION)
        torch.backends.cudnn.allow_tf32 = cfg.FLOAT32_PRECISION != "highest"
    return cfg


def _start_logs(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Log to the terminal and to OUTPUT_DIR: first what runs, and where."""
    backend = TrainerBase.__module__.partition(".engine.")[0]
    for name in ("fvcore", backend, "d2_psformer"):
        set_up = setup_logger(cfg.OUTPUT_DIR or None, distributed_rank=comm.get_rank(), name=name)
        for handler in set_up.handlers:
            if getattr(handler, "stream", None) is not sys.stdout:
                # The next file says that the disk is full: no traceback for each line of the log.
                handler.handleError = lambda record: None
    logger.info("Process %d of %d.", comm.get_rank(), comm.get_world_size())
    logger.info("Environment:\n%s", collect_env_info())
    logger.info("Command line: %s", args)
    changes = "\n".join(f"{key}: {value!r}" for key, value in sorted(changed_keys(cfg).items()))
    logger.info("Config, where it differs from the defaults:\n%s", changes)
    # The training loop logs an error and raises it: the terminal shows it at the end alone.
    for handler in logging.getLogger(backend).handlers:
        if getattr(handler, "stream", None) is sys.stdout:
            handler.addFilter(
                lambda record: record.name != TrainerBase.__module__ or not record.exc_info
            )


def save_config(cfg: CfgNode) -> None:
    """Write ``OUTPUT_DIR/config.yaml``, in the first process alone."""
    if comm.is_main_process():
        path = os.path.join(cfg.OUTPUT_DIR, "config.yaml")
        with atomic_write(path, "w") as file:
            file.write(cfg.dump())
        logger.info("The whole config is in %s", path)


def find_config(path_or_name: str) -> str:
    """Path of a config: of the file if there is one, else of the model zoo's config of this name.

    Raises:
        UserError: there is neither.
    """
    return path_or_name if os.path.isfile(path_or_name) else get_config_file(path_or_name)


def load_config(
    config_file: str | None, opts: list[str] | None = None, data: str | None = None
) -> CfgNode:
    """Defaults, a config with its ``_BASE_``, a data set, then "KEY VALUE" pairs; not frozen.

    No config file can run code. Those of the official MaskFormer and Mask2Former are translated,
    which is logged.

    Args:
        config_file: a YAML file, a name of :mod:`d2_psformer.model_zoo`, or a checkpoint that holds
            its config; None: the defaults alone.
        opts: keys and values in turns.
        data: a ``data.yaml``, which describes a data set, or its folder.

    Raises:
        UserError: one sentence naming the file or key.
    """
    cfg, translation = _read_config(config_file, opts, data)
    if translation:
        translation.log()
    return cfg


def _read_config(
    config_file: str | None, opts: list[str] | None, data: str | None
) -> tuple[CfgNode, Translation | None]:
    cfg, translation = default_config(), None
    if config_file:
        path = find_config(config_file)
        loaded = read_stored_config(path) if is_checkpoint(path) else cfg.load_file(path)
        translation = translate_official(loaded, path)
        cfg.merge_loaded(translation.config if translation else loaded, path)
    if data:
        cfg.merge_loaded(read_data_yaml(data), data)
    cfg.merge_from_list(list(opts or []))
    check_values(cfg)
    return cfg, translation
