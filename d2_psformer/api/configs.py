"""From what a user names to the config of a model."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import torch

from ..d2.config import CfgNode
from ..engine import config_of_checkpoint, load_config
from ..utils.errors import UserError
from .hub import PREFIX, download

StrPath: TypeAlias = str | os.PathLike[str]
Options: TypeAlias = Mapping[str, Any] | None
Device: TypeAlias = str | torch.device | None

_CONFIGS = ("", ".yaml", ".yml")  # names have no suffix


def model_config(
    source: StrPath,
    weights: StrPath | None = None,
    device: Device = None,
    options: Options = None,
) -> CfgNode:
    """The config of a trained model with its checkpoint as MODEL.WEIGHTS; not frozen.

    Args:
        source: see :func:`.load`, like all others.

    Raises:
        UserError: a file is missing, there is no config, or no such device.
    """
    text = os.fspath(source)
    path = download(text) if text.startswith(PREFIX) else Path(text).expanduser()
    if path.is_dir():
        path = _last_checkpoint(path)
    is_config = path.suffix.lower() in _CONFIGS and not (path.suffix == "" and path.is_file())
    if is_config:
        cfg = load_config(text)
        if weights is not None:
            cfg.MODEL.WEIGHTS = os.fspath(weights)
        if not cfg.MODEL.WEIGHTS:
            raise UserError(f"'{text}' is a config: give a checkpoint too, weights='model.pth'.")
    elif weights is not None:
        raise UserError(
            f"'{text}' is no config, as it is no YAML file: with weights='{weights}' give a config."
        )
    else:
        cfg = config_of_checkpoint(path)
    # A config may come from another machine: its device does not count.
    default = "cuda" if torch.cuda.is_available() else "cpu"
    cfg.MODEL.DEVICE = default if device is None else checked_device(device)
    merge_options(cfg, options)
    return cfg


def merge_options(cfg: CfgNode, options: Options) -> None:
    """Set keys of a config, in place."""
    cfg.merge_from_list([part for pair in (options or {}).items() for part in pair])


def checked_device(device: str | torch.device) -> str:
    """The name of a device that torch can use here.

    Raises:
        UserError: there is no such device.
    """
    try:
        is_cuda = torch.device(device).type == "cuda"
    except RuntimeError as error:
        raise UserError(f"device is '{device}': use 'cuda' or 'cpu'.") from error
    if is_cuda and not torch.cuda.is_available():
        raise UserError(f"device is '{device}', but torch finds no GPU here: use 'cpu'.")
    return str(device)


def _last_checkpoint(folder: Path) -> Path:
    """The checkpoint that a training has written last."""
    named = folder / "last_checkpoint"
    if not named.is_file():
        raise UserError(f"Folder '{folder}' is none of a training: give the path of a checkpoint.")
    return folder / named.read_text(encoding="utf-8").strip()
