"""Matching of queries with segments, and the losses on the matched pairs; plain torch."""

from .box_terms import BoxL1, BoxOverlap
from .cell_terms import InstanceDiscrimination, MaskId, SemanticEntropy
from .class_terms import CrossEntropyClass, FocalClass
from .counts import mean_segments, total_segments
from .mask_terms import Dice, MaskBCE, MaskFocal, SigmoidDice, dice_loss
from .masks import DenseMasks, resize_masks
from .matcher import FixedMatcher, HungarianMatcher, Match
from .max_deeplab_criterion import MaXDeepLabCriterion
from .pixel_criterion import PixelCrossEntropy
from .points import UncertainPoints, UniformPoints
from .pq_style import PQStyle
from .set_criterion import SetCriterion
from .targets import IGNORE, Targets, prepare_targets

__all__ = [
    "IGNORE",
    "BoxL1",
    "BoxOverlap",
    "CrossEntropyClass",
    "DenseMasks",
    "Dice",
    "FixedMatcher",
    "FocalClass",
    "HungarianMatcher",
    "InstanceDiscrimination",
    "MaXDeepLabCriterion",
    "MaskBCE",
    "MaskFocal",
    "MaskId",
    "Match",
    "PQStyle",
    "PixelCrossEntropy",
    "SemanticEntropy",
    "SetCriterion",
    "SigmoidDice",
    "Targets",
    "UncertainPoints",
    "UniformPoints",
    "dice_loss",
    "mean_segments",
    "prepare_targets",
    "resize_masks",
    "total_segments",
]
