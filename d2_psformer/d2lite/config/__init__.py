"""Config: the tree of keys, and constructors that take a config or plain arguments."""

from .config import CfgNode, CheckedMerging, get_cfg
from .from_config import configurable

__all__ = ["CfgNode", "CheckedMerging", "configurable", "get_cfg"]
