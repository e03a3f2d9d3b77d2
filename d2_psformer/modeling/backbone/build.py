"""The backbone of a config, with the keys that it does not read refused."""

from ...d2.modeling import Backbone, build_backbone
from ...d2.utils import comm
from ...utils.errors import UserError

# Keys of MODEL.BACKBONE that a backbone does not read, with the values that ask for nothing.
_TIMM = {"PRETRAINED": "", "WEIGHTS": ""}
_FREEZE = {"FREEZE_AT": 0}
_NORMED = ("TimmBackbone", "MaXDeepLabBackbone")  # read NORM
_UNREAD = {"TimmBackbone": {}, "PlainViT": _FREEZE, "MaXDeepLabBackbone": _TIMM | _FREEZE}


def build_checked_backbone(cfg) -> Backbone:
    """Build MODEL.BACKBONE.NAME.

    Raises:
        UserError: keys ask for something that this backbone would ignore, or for batch norms that
            are synchronised between processes on CPUs.
    """
    node = cfg.MODEL.BACKBONE
    unread = _UNREAD.get(node.NAME, _TIMM | {"DROP_PATH": 0.0})
    ignored = [f"MODEL.BACKBONE.{key}" for key, unset in unread.items() if node[key] != unset]
    if node.NAME not in _UNREAD and "backbone" in cfg.MODEL.CHECKPOINTING:
        ignored.append("'backbone' in MODEL.CHECKPOINTING")
    if ignored:
        raise UserError(
            f"MODEL.BACKBONE.NAME is '{node.NAME}', which does not read {', '.join(ignored)}: take "
            "that out (MODEL.WEIGHTS names weights), or set FREEZE_AT to 0."
        )
    synchronised = node.NAME in _NORMED and node.NORM == "SyncBN"
    if synchronised and cfg.MODEL.DEVICE == "cpu" and comm.get_world_size() > 1:
        raise UserError(
            "MODEL.BACKBONE.NORM SyncBN needs GPUs where several processes train: set it to "
            "FrozenBN or BN, or use one process."
        )
    return build_backbone(cfg)
