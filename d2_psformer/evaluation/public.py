"""The names of this package."""

from .builder import build_evaluator
from .instance_evaluator import InstanceEvaluator
from .panoptic_evaluator import PanopticQualityEvaluator
from .pq_counter import PanopticQuality
from .semantic_evaluator import SemanticEvaluator
from .submission import SubmissionWriter

__all__ = [
    "InstanceEvaluator",
    "PanopticQuality",
    "PanopticQualityEvaluator",
    "SemanticEvaluator",
    "SubmissionWriter",
    "build_evaluator",
]
