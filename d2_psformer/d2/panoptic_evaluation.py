"""Detectron2's own panoptic evaluator; None with d2lite, which has no second one beside ours."""

from . import BACKEND

if BACKEND == "detectron2":
    from detectron2.evaluation import COCOPanopticEvaluator
else:
    COCOPanopticEvaluator = None

__all__ = [
    "COCOPanopticEvaluator",
]
