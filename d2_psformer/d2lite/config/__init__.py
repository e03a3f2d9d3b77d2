"""Config: the tree of keys, and constructors that take a config or plain arguments."""

from .config import CfgNode, UnknownKeyError, get_cfg
from .config_file import read_config_file
from .from_config import configurable

__all__ = ["CfgNode", "UnknownKeyError", "configurable", "get_cfg", "read_config_file"]
