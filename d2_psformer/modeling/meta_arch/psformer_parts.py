"""The parts of Panoptic SegFormer, in both of its versions, as a config describes them."""

from contextlib import AbstractContextManager
from dataclasses import replace

from ..criterion import (
    BoxL1,
    BoxOverlap,
    DenseMasks,
    Dice,
    FocalClass,
    HungarianMatcher,
    SetCriterion,
)
from ..transformer_decoder import LocationDecoder
from .segmenter import config_node

# Masks are compared on the whole canvas: at their own size for matching, at twice that for losses.
MATCHED_MASKS = DenseMasks(count_padding=True)
LEARNED_MASKS = DenseMasks(scale=2, count_padding=True)


def build_location_decoder(cfg, num_classes: int, refine: bool = True) -> LocationDecoder:
    """The location decoder of a config; see :class:`LocationDecoder` for the arguments."""
    node, pixels, own = cfg.MODEL.TRANSFORMER_DECODER, cfg.MODEL.PIXEL_DECODER, cfg.MODEL.PSFORMER
    psformer = dict.fromkeys(("reference_init", "class_prior", "box_size_prior"), "MODEL.PSFORMER")
    with config_node("MODEL.TRANSFORMER_DECODER", points="MODEL.PIXEL_DECODER", **psformer):
        return LocationDecoder(
            num_classes=num_classes,
            refine=refine,
            dim=pixels.DIM,
            num_queries=node.NUM_QUERIES,
            layers=node.LAYERS,
            heads=node.HEADS,
            num_levels=pixels.NUM_LEVELS,
            points=pixels.POINTS,
            dim_feedforward=node.DIM_FEEDFORWARD,
            dropout=node.DROPOUT,
            reference_init=own.REFERENCE_INIT,
            class_prior=own.CLASS_PRIOR,
            box_size_prior=own.BOX_SIZE_PRIOR,
        )


def mask_decoder_options(cfg) -> dict:
    """The arguments of :class:`MaskDecoder` that things and stuff share."""
    return {
        "dim": cfg.MODEL.PIXEL_DECODER.DIM,
        "heads": cfg.MODEL.TRANSFORMER_DECODER.HEADS,
        "num_levels": len(cfg.MODEL.PIXEL_DECODER.IN_FEATURES),
        "exit_after": cfg.MODEL.PSFORMER.EXIT_AFTER,
        "deep_supervision": cfg.MODEL.LOSS.DEEP_SUPERVISION,
        "checkpointing": "transformer_decoder" in cfg.MODEL.CHECKPOINTING,
    }


def mask_decoder_node(key: str) -> AbstractContextManager[None]:
    """:func:`config_node` of MODEL.PSFORMER.``key``, for the arguments of a mask decoder."""
    elsewhere = {"heads": "MODEL.TRANSFORMER_DECODER", "class_prior": "MODEL.PSFORMER"}
    return config_node(f"MODEL.PSFORMER.{key}", **elsewhere)


def loss_terms(cfg) -> tuple[FocalClass, FocalClass, BoxL1, BoxOverlap, Dice]:
    """Class, class where masks are matched too, box, overlap and mask (section 3.5).

    Cost and loss of one kind have one weight, but for the class where masks are matched.
    """
    node = cfg.MODEL.LOSS
    with config_node("MODEL.LOSS"):
        focal = FocalClass(node.CLASS_WEIGHT, node.CLASS_WEIGHT, node.FOCAL_ALPHA, node.FOCAL_GAMMA)
        boxes = BoxL1(*[node.BOX_WEIGHT] * 2), BoxOverlap(*[node.GIOU_WEIGHT] * 2)
        dice = Dice(node.DICE_WEIGHT, node.DICE_WEIGHT)
    with config_node("MODEL.PSFORMER.MASK_MATCH_CLASS_COST"):
        rematched = replace(focal, cost_weight=cfg.MODEL.PSFORMER.MASK_MATCH_CLASS_COST)
    return focal, rematched, *boxes, dice


def criteria(cfg) -> dict:
    """The matchers and criteria of :class:`PanopticSegFormer`."""
    focal, rematched, *boxes, dice = loss_terms(cfg)
    with config_node("MODEL.PSFORMER.STUFF_CLASS_WEIGHT"):
        stuff = replace(focal, weight=cfg.MODEL.PSFORMER.STUFF_CLASS_WEIGHT)
    located = (focal, *boxes)
    return {
        "location_criterion": SetCriterion(located, HungarianMatcher(located), prefix="thing_"),
        "mask_matcher": HungarianMatcher((rematched, *boxes, dice), MATCHED_MASKS),
        "mask_criterion": SetCriterion([dice], masks=LEARNED_MASKS, prefix="thing_"),
        "stuff_criterion": SetCriterion([stuff, dice], masks=LEARNED_MASKS, prefix="stuff_"),
    }
