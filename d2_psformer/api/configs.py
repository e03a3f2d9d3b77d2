"""From what a user names to the config of a model."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import torch

from ..config import check_values
from ..d2.config import CfgNode
from ..engine import last_checkpoint, load_config
from ..model_zoo import get_weights_file
from ..utils.errors import UserError
from .hub import PREFIX, download

StrPath: TypeAlias = str | os.PathLike[str]
Options: TypeAlias = Mapping[str, Any] | None
Device: TypeAlias = str | torch.device | None


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
        path = _checkpoint_in(path)
    cfg = load_config(str(path) if path.is_file() else text)
    found = [os.fspath(weights)] if weights is not None else []
    found += [cfg.MODEL.WEIGHTS, get_weights_file(text)]
    cfg.MODEL.WEIGHTS = next(filter(None, found), "")
    if not cfg.MODEL.WEIGHTS:
        raise UserError(
            f"'{text}' is a config: give a checkpoint too, weights='model.pth' in Python or "
            "--weights model.pth."
        )
    # A config may come from another machine: its device does not count.
    default = "cuda" if torch.cuda.is_available() else "cpu"
    cfg.MODEL.DEVICE = default if device is None else checked_device(device)
    merge_options(cfg, options)
    return cfg


def merge_options(cfg: CfgNode, options: Options) -> None:
    """Set keys of a config, in place."""
    cfg.merge_from_list([part for pair in (options or {}).items() for part in pair])
    check_values(cfg)


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


def _checkpoint_in(folder: Path) -> Path:
    path = Path(last_checkpoint(str(folder)))
    if path.is_file():
        return path
    raise UserError(f"Folder '{folder}' is none of a training: give the path of a checkpoint.")
