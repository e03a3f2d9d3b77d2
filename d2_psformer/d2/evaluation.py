"""Evaluators and the evaluation loop."""

from typing import TYPE_CHECKING

from . import from_backend

if TYPE_CHECKING:
    from ..d2lite.evaluation import (
        COCOEvaluator,
        DatasetEvaluator,
        DatasetEvaluators,
        SemSegEvaluator,
        inference_on_dataset,
        print_csv_format,
        verify_results,
    )
    from ..d2lite.evaluation.coco_evaluation import instances_to_coco_json
else:
    __getattr__ = from_backend("evaluation", "evaluation.coco_evaluation")
