"""The losses of MaskFormer and Mask2Former as a config describes them."""

from ...utils.checks import check_choice
from ..criterion import (
    CrossEntropyClass,
    DenseMasks,
    FixedMatcher,
    HungarianMatcher,
    MaskBCE,
    MaskFocal,
    SetCriterion,
    SigmoidDice,
    UncertainPoints,
    UniformPoints,
)
from ..criterion.mask_terms import MaskTerm
from ..criterion.masks import MaskSampler
from .segmenter import config_node


def maskformer_criterion(cfg) -> SetCriterion:
    """Class, focal and dice loss: of all pixels of the canvas, matched at the predicted size."""
    node = cfg.MODEL.LOSS
    padding = {"count_padding": node.COUNT_PADDING}
    with config_node("MODEL.LOSS"):
        focal = MaskFocal(*[node.MASK_WEIGHT] * 2, node.FOCAL_ALPHA, node.FOCAL_GAMMA)
        matched = DenseMasks(truth_mode="nearest", **padding)
        return _criterion(node, focal, matched, DenseMasks(scale=None, **padding))


def mask2former_criterion(cfg) -> SetCriterion:
    """Class, cross-entropy and dice loss, of random points."""
    node = cfg.MODEL.LOSS
    points = {"num_points": node.NUM_POINTS, "count_padding": node.COUNT_PADDING}
    with config_node("MODEL.LOSS"):
        uncertain = UncertainPoints(
            **points,
            oversample_ratio=node.OVERSAMPLE_RATIO,
            importance_sample_ratio=node.IMPORTANCE_SAMPLE_RATIO,
        )
        entropy = MaskBCE(*[node.MASK_WEIGHT] * 2)
        return _criterion(node, entropy, UniformPoints(**points), uncertain)


def _criterion(node, term: MaskTerm, matched: MaskSampler, learned: MaskSampler) -> SetCriterion:
    """Cost and loss of one kind have one weight."""
    check_choice(("hungarian", "fixed"), MATCHING=node.MATCHING)
    check_choice(("local", "global"), CLASS_NORMALIZER=node.CLASS_NORMALIZER)
    terms = (
        CrossEntropyClass(
            *[node.CLASS_WEIGHT] * 2, node.NO_OBJECT_WEIGHT, node.CLASS_NORMALIZER == "global"
        ),
        term,
        SigmoidDice(*[node.DICE_WEIGHT] * 2),
    )
    fixed = node.MATCHING == "fixed"
    matcher = FixedMatcher() if fixed else HungarianMatcher(terms, matched)
    return SetCriterion(terms, matcher, masks=learned)
