"""Keys of earlier versions, and what to write instead."""

from ..d2.config import CfgNode as CN

_PIXEL, _QUERY = "MODEL.PIXEL_DECODER", "MODEL.TRANSFORMER_DECODER"
# Keys below MODEL.PSFORMER in files of earlier versions -> what to write instead.
RENAMED = {
    "IN_FEATURES": f"{_PIXEL}.IN_FEATURES",
    "NUM_FEATURE_LEVELS": f"{_PIXEL}.NUM_LEVELS",
    "HIDDEN_DIM": f"{_PIXEL}.DIM",
    "NUM_HEADS": f"{_PIXEL}.HEADS and {_QUERY}.HEADS",
    "NUM_POINTS": f"{_PIXEL}.POINTS",
    "DIM_FEEDFORWARD": f"{_PIXEL}.DIM_FEEDFORWARD and {_QUERY}.DIM_FEEDFORWARD",
    "DROPOUT": f"{_PIXEL}.DROPOUT and {_QUERY}.DROPOUT",
    "ENCODER": f"{_PIXEL}.LAYERS (0 for none)",
    "ENCODER_LAYERS": f"{_PIXEL}.LAYERS",
    "LOCATION_LAYERS": f"{_QUERY}.LAYERS",
    "NUM_QUERIES": f"{_QUERY}.NUM_QUERIES",
    "LOCATION_SUPERVISION": "MODEL.META_ARCHITECTURE (PanopticSegFormerV1 learns centres)",
    "CLASSIFY": "MODEL.META_ARCHITECTURE (PanopticSegFormerV1 classifies masks)",
    "MASK_SUPERVISION": "MODEL.LOSS.DEEP_SUPERVISION",
    "CHECKPOINTING": "MODEL.CHECKPOINTING",
    "COMPILE": "MODEL.COMPILE",
    "LOSS": "MODEL.LOSS (L1_WEIGHT is BOX_WEIGHT) and MODEL.PSFORMER",
    "TEST": "MODEL.POSTPROCESSING (TOPK is MODEL.PSFORMER.TOPK)",
    "TEST.TOPK": "MODEL.PSFORMER.TOPK",
    "TEST.MASK_LAYERS": "MODEL.PSFORMER.EXIT_AFTER",
    "TEST.AUTOCAST": "MODEL.AUTOCAST",
    "LOSS.L1_WEIGHT": "MODEL.LOSS.BOX_WEIGHT",
    "LOSS.STUFF_CLASS_WEIGHT": "MODEL.PSFORMER.STUFF_CLASS_WEIGHT",
    "LOSS.MASK_MATCH_CLASS_COST": "MODEL.PSFORMER.MASK_MATCH_CLASS_COST",
}


def rename_keys(cfg: CN) -> None:
    """Name the new key where a file has an old one; all other keys must be there already."""
    moved = {f"TEST.{key}": f"MODEL.POSTPROCESSING.{key}" for key in cfg.MODEL.POSTPROCESSING}
    moved |= {f"LOSS.{key}": f"MODEL.LOSS.{key}" for key in cfg.MODEL.LOSS}
    for old, new in (moved | RENAMED).items():
        cfg.register_renamed_key(f"MODEL.PSFORMER.{old}", new)
    cfg.register_renamed_key(
        "MODEL.BACKBONE.FREEZE_BN", "MODEL.BACKBONE.NORM", "FREEZE_BN True is NORM FrozenBN."
    )
