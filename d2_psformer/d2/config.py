"""Config: the key tree, _BASE_ files and constructors that take a config or arguments."""

from . import BACKEND

if BACKEND == "detectron2":
    from detectron2.config import CfgNode, configurable, get_cfg
else:
    from ..d2lite.config import CfgNode, configurable, get_cfg

__all__ = [
    "CfgNode",
    "configurable",
    "get_cfg",
]
