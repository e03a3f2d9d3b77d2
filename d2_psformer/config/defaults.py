"""Detectron2's keys with ours, and which keys of a config differ from them."""

from collections.abc import Iterator
from typing import Any

from ..d2.config import CfgNode as CN
from ..d2.config import get_cfg
from .architectures import add_eomt_keys, add_max_deeplab_keys, add_psformer_keys
from .data import add_data_keys
from .model import add_backbone_keys, add_decoder_keys, add_loss_keys, add_postprocessing_keys
from .renamed import rename_keys
from .solver import add_solver_keys


def add_psformer_config(cfg: CN) -> None:
    """Add this project's keys and defaults to a Detectron2 config, in place."""
    add_data_keys(cfg)
    add_backbone_keys(cfg.MODEL.BACKBONE)
    add_decoder_keys(cfg.MODEL)
    add_loss_keys(cfg.MODEL)
    add_postprocessing_keys(cfg.MODEL)
    add_psformer_keys(cfg.MODEL)
    add_max_deeplab_keys(cfg.MODEL)
    add_eomt_keys(cfg.MODEL)
    add_solver_keys(cfg)
    rename_keys(cfg)


def default_config() -> CN:
    """A new config with Detectron2's keys and ours."""
    cfg = get_cfg()
    add_psformer_config(cfg)
    return cfg


def changed_keys(cfg: CN) -> dict[str, Any]:
    """The values that differ from :func:`default_config`, by their keys ("A.B.C")."""
    defaults = dict(leaves(default_config()))
    return {
        key: value
        for key, value in leaves(cfg)
        if key not in defaults or _with_lists(value) != _with_lists(defaults[key])
    }


def _with_lists(value: Any) -> Any:
    """Tuples in tuples are lists in tuples when a config has been saved and read."""
    return [*map(_with_lists, value)] if isinstance(value, list | tuple) else value


def leaves(node: CN, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All keys with values, as "A.B.C", and their values."""
    for key, value in node.items():
        if isinstance(value, CN):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
