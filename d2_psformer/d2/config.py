"""Config: the key tree, files and constructors that take a config or arguments.

d2lite reads the files on both backends: Detectron2's own reading runs code that YAML can hold.
"""

from typing import Any

from ..d2lite.config import read_config_file
from . import BACKEND

if BACKEND == "detectron2":
    from detectron2.config import CfgNode as _CfgNode
    from detectron2.config import configurable
    from detectron2.config import get_cfg as _get_cfg

    class CfgNode(_CfgNode):
        """Detectron2's, except that a config file cannot run code."""

        @classmethod
        def load_yaml_with_base(cls, filename: str, allow_unsafe: bool = False) -> dict[str, Any]:
            return read_config_file(filename)

    def get_cfg() -> CfgNode:
        """A new config with Detectron2's keys and defaults."""
        return CfgNode(_get_cfg())

else:
    from ..d2lite.config import CfgNode, configurable, get_cfg

__all__ = [
    "CfgNode",
    "configurable",
    "get_cfg",
    "read_config_file",
]
