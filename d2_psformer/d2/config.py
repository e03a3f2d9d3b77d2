"""Config: the key tree, files and constructors that take a config or arguments.

d2lite reads the files on both backends: Detectron2's own reading runs code that YAML can hold.
"""

from ..d2lite.config import read_config_file
from . import BACKEND

if BACKEND == "detectron2":
    from detectron2.config import CfgNode, configurable, get_cfg
else:
    from ..d2lite.config import CfgNode, configurable, get_cfg

__all__ = [
    "CfgNode",
    "configurable",
    "get_cfg",
    "read_config_file",
]
