"""Detectron2's own panoptic evaluator, which d2lite does not have: None there."""

from . import BACKEND

if BACKEND == "detectron2":
    from detectron2.evaluation import COCOPanopticEvaluator
else:
    COCOPanopticEvaluator = None
