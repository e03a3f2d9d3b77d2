"""The evaluators of a config."""

import importlib.util
import logging
import os
from collections import OrderedDict

from ..classes import Classes
from ..d2.config import CfgNode
from ..d2.data import MetadataCatalog
from ..d2.evaluation import DatasetEvaluator, DatasetEvaluators
from ..d2.panoptic_evaluation import COCOPanopticEvaluator
from ..d2.utils import comm
from ..data.class_metadata import has_classes
from ..data.panoptic_json import read_panoptic_json
from ..utils.errors import UserError
from ..utils.files import write_json
from .instance_evaluator import InstancesFromPanopticEvaluator
from .panoptic_evaluator import PanopticQualityEvaluator
from .semantic_evaluator import SemanticFromPanopticEvaluator
from .submission import SubmissionWriter

logger = logging.getLogger(__name__)


def build_evaluator(
    cfg: CfgNode, dataset_name: str, output_dir: str | None = None
) -> DatasetEvaluators:
    """Evaluators for the results that ``cfg.MODEL.POSTPROCESSING.*_ON`` switches on.

    A data set without ground truth gets the writer of COCO's submission files instead.

    Args:
        output_dir: folder for ``metrics.json`` and what else the evaluators write; by default
            ``inference/<dataset_name>`` in ``cfg.OUTPUT_DIR``.

    Raises:
        UserError: nothing is switched on that this data set can be evaluated by.
        UserError: ``TEST.PANOPTIC_EVALUATOR`` is "detectron2" and that or panopticapi is missing.
    """
    output_dir = output_dir or os.path.join(cfg.OUTPUT_DIR, "inference", dataset_name)
    metadata = MetadataCatalog.get(dataset_name)
    test = cfg.MODEL.POSTPROCESSING
    evaluators: list[DatasetEvaluator] = []
    if not has_ground_truth(metadata):
        if test.PANOPTIC_ON:
            logger.info("'%s' has no ground truth: writing submission files", dataset_name)
            # Images without classes get those that the model was trained for.
            whose = dataset_name if has_classes(dataset_name) else cfg.DATASETS.TRAIN[0]
            classes = Classes.from_metadata(MetadataCatalog.get(whose))
            evaluators.append(SubmissionWriter(dataset_name, output_dir, classes))
    else:
        if test.PANOPTIC_ON:
            evaluators.append(_panoptic(cfg.TEST.PANOPTIC_EVALUATOR, dataset_name))
        if test.SEMANTIC_ON:
            evaluators.append(SemanticFromPanopticEvaluator(dataset_name))
        if test.INSTANCE_ON and Classes.from_metadata(metadata).num_things:
            evaluators.append(InstancesFromPanopticEvaluator(dataset_name, output_dir))
    if not evaluators:
        raise UserError(
            f"Nothing to evaluate on '{dataset_name}': switch on MODEL.POSTPROCESSING.PANOPTIC_ON, "
            "or with ground truth SEMANTIC_ON or, for things, INSTANCE_ON."
        )
    return SavedEvaluators(evaluators, dataset_name, output_dir)


def has_ground_truth(metadata) -> bool:
    """True if a data set's ``panoptic_json`` and ``panoptic_root`` are known and have annotations.

    COCO's test sets have a JSON with images and categories only.

    Raises:
        UserError: see :func:`.panoptic_json.read_panoptic_json`.
    """
    if not metadata.get("panoptic_json", None) or not metadata.get("panoptic_root", None):
        return False
    return bool(read_panoptic_json(metadata.panoptic_json).get("annotations"))


class SavedEvaluators(DatasetEvaluators):
    """Several evaluators whose figures also go to ``metrics.json`` in ``output_dir``."""

    def __init__(self, evaluators: list[DatasetEvaluator], dataset_name: str, output_dir: str):
        super().__init__(evaluators)
        self._dataset_name = dataset_name
        self._path = os.path.join(output_dir, "metrics.json")

    def evaluate(self) -> OrderedDict:
        results = super().evaluate()
        if comm.is_main_process() and results:
            write_json(self._path, {"dataset": self._dataset_name, **results})
            logger.info("Results are in %s", self._path)
        return results


class _OnCopies(DatasetEvaluator):
    """Gives copies of ``segments_info`` to an evaluator that changes them."""

    def __init__(self, evaluator: DatasetEvaluator):
        self._evaluator = evaluator
        self.reset, self.evaluate = evaluator.reset, evaluator.evaluate

    def process(self, inputs: list[dict], outputs: list[dict]) -> None:
        panoptic = (output["panoptic_seg"] for output in outputs)
        copies = [{"panoptic_seg": (ids, [dict(s) for s in info])} for ids, info in panoptic]
        self._evaluator.process(inputs, copies)


def _panoptic(whose: str, dataset_name: str) -> DatasetEvaluator:
    if whose == "ours":
        return PanopticQualityEvaluator(dataset_name)
    if whose != "detectron2":
        raise UserError(f"TEST.PANOPTIC_EVALUATOR is '{whose}': set it to ours or detectron2.")
    if COCOPanopticEvaluator is None or importlib.util.find_spec("panopticapi") is None:
        raise UserError(
            "TEST.PANOPTIC_EVALUATOR is 'detectron2', which needs Detectron2 and panopticapi: "
            "install both or set it to ours, which gives the same figures."
        )
    return _OnCopies(COCOPanopticEvaluator(dataset_name))
