"""Evaluators and the evaluation loop."""

from . import BACKEND

if BACKEND == "detectron2":
    from detectron2.evaluation import (
        COCOEvaluator,
        DatasetEvaluator,
        DatasetEvaluators,
        SemSegEvaluator,
        inference_context,
        inference_on_dataset,
        print_csv_format,
        verify_results,
    )
else:
    from ..d2lite.evaluation import (
        COCOEvaluator,
        DatasetEvaluator,
        DatasetEvaluators,
        SemSegEvaluator,
        inference_context,
        inference_on_dataset,
        print_csv_format,
        verify_results,
    )

__all__ = [
    "COCOEvaluator",
    "DatasetEvaluator",
    "DatasetEvaluators",
    "SemSegEvaluator",
    "inference_context",
    "inference_on_dataset",
    "print_csv_format",
    "verify_results",
]
