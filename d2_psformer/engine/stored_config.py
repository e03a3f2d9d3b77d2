"""The config that a trained model was trained with."""

from pathlib import Path
from typing import Any

from ..checkpoint import read_checkpoint
from ..config import default_config
from ..utils.errors import UserError
from ..utils.safe_yaml import read_yaml

_CHECKPOINTS = (".pth", ".pt", ".safetensors")


def is_checkpoint(path: str) -> bool:
    """True if the name of a file is that of a checkpoint, not of a config."""
    return path.lower().endswith(_CHECKPOINTS)


def read_stored_config(path: str) -> dict[str, Any]:
    """The config inside a checkpoint, or else that of ``config.yaml`` beside it.

    MODEL.WEIGHTS is the checkpoint.

    Raises:
        UserError: the file cannot be read, there is no config, or its MODEL is no node.
    """
    text = read_checkpoint(path).get("config")
    beside = Path(path).with_name("config.yaml")
    if isinstance(text, str):
        loaded = read_yaml(text, f"The config in checkpoint '{path}'")
    elif beside.is_file():
        loaded = default_config().load_file(str(beside))
    else:
        raise UserError(
            f"Checkpoint '{path}' holds no config, and no config.yaml lies beside it: copy the "
            "config.yaml of its training there, or name the config and give the checkpoint as its "
            "weights, in Python load(CONFIG, weights=FILE)."
        )
    model = loaded.setdefault("MODEL", {})
    if not isinstance(model, dict):
        raise UserError(
            f"MODEL is {model!r:.80} in the config of checkpoint '{path}': it must have keys."
        )
    model["WEIGHTS"] = path
    return loaded
