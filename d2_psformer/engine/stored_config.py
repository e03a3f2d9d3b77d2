"""The config that a trained model was trained with."""

import os
from pathlib import Path
from typing import Any

import yaml

from ..checkpoint import read_checkpoint
from ..config import add_psformer_config
from ..d2.config import CfgNode, get_cfg
from ..utils.errors import UserError
from .setup import load_config


def config_of_checkpoint(path: str | os.PathLike[str]) -> CfgNode:
    """The config inside a checkpoint, or else that of ``config.yaml`` beside it; not frozen.

    MODEL.WEIGHTS is set to the checkpoint.

    Raises:
        UserError: the file cannot be read, there is no config, or it has unknown keys.
    """
    text = read_checkpoint(str(path)).get("config")
    beside = Path(path).with_name("config.yaml")
    if isinstance(text, str):
        cfg = get_cfg()
        add_psformer_config(cfg)
        cfg.merge_loaded(_parsed(text, path), str(path))
    elif beside.is_file():
        cfg = load_config(str(beside))
    else:
        raise UserError(
            f"Checkpoint '{path}' holds no config, and no config.yaml lies beside it: copy the "
            "config.yaml of its training there, or name the config and give the checkpoint as its "
            "weights."
        )
    cfg.MODEL.WEIGHTS = str(path)
    return cfg


def _parsed(text: str, path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        loaded = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"The config in checkpoint '{path}' is no YAML: {error}.") from error
    if not isinstance(loaded, dict):
        raise UserError(f"The config in checkpoint '{path}' is no YAML of 'KEY: value' pairs.")
    return loaded
