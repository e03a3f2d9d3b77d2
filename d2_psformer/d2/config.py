"""The config, and constructors that take a config or arguments.

Both backends read files and report mistakes in the same way, see
:class:`d2_psformer.d2lite.config.CheckedMerging`: a config file cannot run code.
"""

from typing import TYPE_CHECKING

from ..d2lite.config import CheckedMerging
from . import BACKEND

if TYPE_CHECKING or BACKEND == "d2lite":
    from ..d2lite.config import CfgNode, configurable, get_cfg
else:
    from detectron2.config import CfgNode as _CfgNode
    from detectron2.config import configurable
    from detectron2.config import get_cfg as _get_cfg

    class CfgNode(CheckedMerging, _CfgNode):
        """Detectron2's ``CfgNode`` with checked merging."""

    def get_cfg() -> CfgNode:
        """A new config with Detectron2's keys and defaults."""
        return CfgNode(_get_cfg())
