"""Matching of queries with segments, and the losses on the matched pairs; plain torch."""

from .masks import DenseMasks, resize_masks
from .matcher import HungarianMatcher, Match
from .set_criterion import SetCriterion, mean_segments
from .targets import Targets, prepare_targets
from .terms import BoxL1, BoxOverlap, Dice, FocalClass

__all__ = [
    "BoxL1",
    "BoxOverlap",
    "DenseMasks",
    "Dice",
    "FocalClass",
    "HungarianMatcher",
    "Match",
    "SetCriterion",
    "Targets",
    "mean_segments",
    "prepare_targets",
    "resize_masks",
]
