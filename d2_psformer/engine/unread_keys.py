"""Keys that a config sets although only other architectures read them."""

from ..config import changed_keys
from ..d2.config import CfgNode

_PSFORMER = "PanopticSegFormer", "PanopticSegFormerV1"
# The baselines read fewer keys, but take the configs of MaskFormer as they are.
_MASKFORMER = "MaskFormer", "PerPixelBaseline", "PerPixelBaselinePlus"
# Architectures -> the keys below MODEL that no other one reads, or how these begin.
_READ_BY = {
    _PSFORMER: ("PSFORMER.", "LOSS.BOX_WEIGHT", "LOSS.GIOU_WEIGHT"),
    ("Mask2Former",): ("LOSS.NUM_POINTS", "LOSS.OVERSAMPLE_RATIO", "LOSS.IMPORTANCE_SAMPLE_RATIO"),
    (*_PSFORMER, *_MASKFORMER): ("LOSS.FOCAL_",),
    (*_PSFORMER, "Mask2Former"): ("PIXEL_DECODER.NUM_LEVELS", "PIXEL_DECODER.POINTS"),
    ("MaXDeepLab",): (
        "MAX_DEEPLAB.",
        "LOSS.PQ_WEIGHT",
        "LOSS.MASK_ID_WEIGHT",
        "LOSS.INSTANCE_WEIGHT",
        "LOSS.SEMANTIC_WEIGHT",
        "POSTPROCESSING.THING_AREA_LIMIT",
        "POSTPROCESSING.STUFF_AREA_LIMIT",
    ),
    (*_PSFORMER, *_MASKFORMER, "Mask2Former"): (
        "LOSS.CLASS_WEIGHT",
        "LOSS.DICE_WEIGHT",
        "LOSS.DEEP_SUPERVISION",
    ),
    (*_MASKFORMER, "Mask2Former", "MaXDeepLab"): ("PIXEL_DECODER.MASK_DIM",),
    (*_MASKFORMER, "Mask2Former"): (
        "LOSS.MASK_WEIGHT",
        "LOSS.NO_OBJECT_WEIGHT",
        "LOSS.CLASS_NORMALIZER",
        "LOSS.COUNT_PADDING",
        "LOSS.MATCHING",
    ),
}


def unread_keys(cfg: CfgNode) -> list[str]:
    """Keys below MODEL that differ from their defaults, and that MODEL.META_ARCHITECTURE ignores.

    Nothing is known about architectures that this package does not have.
    """
    architecture = cfg.MODEL.META_ARCHITECTURE
    if not any(architecture in readers for readers in _READ_BY):
        return []
    of_others = tuple(
        f"MODEL.{key}"
        for readers, keys in _READ_BY.items()
        if architecture not in readers
        for key in keys
    )
    return [key for key in changed_keys(cfg) if key.startswith(of_others)]
