"""Panoptic quality, semantic and instance measures, and submission files."""

from .builder import build_evaluator
from .instance_evaluator import InstancesFromPanopticEvaluator
from .panoptic_evaluator import PanopticQualityEvaluator
from .pq_counter import PanopticQuality
from .semantic_evaluator import SemanticFromPanopticEvaluator
from .submission import SubmissionWriter

__all__ = [
    "InstancesFromPanopticEvaluator",
    "PanopticQuality",
    "PanopticQualityEvaluator",
    "SemanticFromPanopticEvaluator",
    "SubmissionWriter",
    "build_evaluator",
]
