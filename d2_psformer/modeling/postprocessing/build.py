"""The postprocessor of a config."""

from ...classes import Classes
from ...utils.checks import check_at_least, check_choice, check_share
from ...utils.errors import UserError
from .mask_wise import MaskWiseMerging
from .max_deeplab import MaXDeepLabMerging, MaXDeepLabPostprocessor
from .pixel_wise import MaskFormerMerging, PixelArgmaxMerging
from .results import Postprocessor


def build_postprocessor(cfg, classes: Classes) -> Postprocessor:
    """The postprocessor of MODEL.POSTPROCESSING.

    Raises:
        UserError: an unknown merging, or a result or merging that the architecture does not have.
    """
    node, architecture = cfg.MODEL.POSTPROCESSING, cfg.MODEL.META_ARCHITECTURE
    switches = node.PANOPTIC_ON, node.SEMANTIC_ON, node.INSTANCE_ON
    if architecture.startswith("PerPixel") and switches != (False, True, False):
        raise UserError(
            f"{architecture} has semantic results alone: set "
            "MODEL.POSTPROCESSING.SEMANTIC_ON True, PANOPTIC_ON False and INSTANCE_ON False."
        )
    if architecture.startswith("PanopticSegFormer") and node.MERGING == "max_deeplab":
        raise UserError(
            f"MERGING max_deeplab is for queries that share out every pixel, and {architecture} "
            "has none: set mask_wise."
        )
    merging = _build_merging(node)
    kind = MaXDeepLabPostprocessor if node.MERGING == "max_deeplab" else Postprocessor
    count = cfg.TEST.DETECTIONS_PER_IMAGE
    return kind(merging, classes.thing_ids, classes.num_classes, *switches, count)


def _build_merging(node):
    """The merging of the config node MODEL.POSTPROCESSING, with the thresholds that it has."""
    choices = ("mask_wise", "pixel_argmax", "maskformer", "mask2former", "max_deeplab")
    check_choice(choices, MERGING=node.MERGING)
    thresholds = {
        "score_threshold": node.SCORE_THRESHOLD,
        "mask_threshold": node.MASK_THRESHOLD,
    }
    check_at_least(0, **thresholds)
    if node.MERGING == "pixel_argmax":
        return PixelArgmaxMerging(**thresholds)
    if node.MERGING == "max_deeplab":
        limits = node.THING_AREA_LIMIT, node.STUFF_AREA_LIMIT
        return MaXDeepLabMerging(*thresholds.values(), *limits)
    overlaps = {
        "thing_overlap_threshold": node.THING_OVERLAP_THRESHOLD,
        "stuff_overlap_threshold": node.STUFF_OVERLAP_THRESHOLD,
    }
    check_share(**overlaps)
    if node.MERGING == "mask_wise":
        powers = {"class_power": node.CLASS_POWER, "mask_power": node.MASK_POWER}
        return MaskWiseMerging(**powers, **thresholds, **overlaps)
    is_within = node.MERGING == "mask2former"
    return MaskFormerMerging(**thresholds, **overlaps, within_mask=is_within)
