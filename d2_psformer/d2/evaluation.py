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
else:
    __getattr__ = from_backend("evaluation")
