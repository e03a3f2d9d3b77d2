"""The backbone of a config, with the keys that it does not read refused."""

from ...d2.modeling import Backbone, build_backbone
from ...d2.utils import comm
from ...utils.errors import UserError

# Keys of MODEL.BACKBONE that only TimmBackbone reads, with the values that ask for nothing.
_ONLY_TIMM = {"PRETRAINED": "", "WEIGHTS": "", "DROP_PATH": 0.0}


def build_checked_backbone(cfg) -> Backbone:
    """Build MODEL.BACKBONE.NAME.

    Raises:
        UserError: keys ask for something that this backbone would ignore, or for batch norms that
            are synchronised between processes on CPUs.
    """
    node = cfg.MODEL.BACKBONE
    if node.NAME != "TimmBackbone":
        ignored = [f"MODEL.BACKBONE.{k}" for k, unset in _ONLY_TIMM.items() if node[k] != unset]
        if "backbone" in cfg.MODEL.CHECKPOINTING:
            ignored.append("'backbone' in MODEL.CHECKPOINTING")
        if ignored:
            raise UserError(
                f"MODEL.BACKBONE.NAME is '{node.NAME}', but only TimmBackbone reads "
                f"{', '.join(ignored)}: take that out (MODEL.WEIGHTS names weights for the others)."
            )
    elif node.NORM == "SyncBN" and cfg.MODEL.DEVICE == "cpu" and comm.get_world_size() > 1:
        raise UserError(
            "MODEL.BACKBONE.NORM SyncBN needs GPUs where several processes train: set it to "
            "FrozenBN or BN, or use one process."
        )
    return build_backbone(cfg)
