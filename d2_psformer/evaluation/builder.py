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
from ..data.coco_instances import read_instance_json
from ..data.panoptic_json import read_panoptic_json
from ..utils.errors import UserError
from ..utils.files import write_json
from .instance_evaluator import InstanceEvaluator
from .instance_results import InstanceResultsWriter
from .panoptic_evaluator import PanopticQualityEvaluator
from .semantic_evaluator import SemanticEvaluator
from .submission import SubmissionWriter

logger = logging.getLogger(__name__)


def build_evaluator(
    cfg: CfgNode, dataset_name: str, output_dir: str | None = None
) -> DatasetEvaluators:
    """Evaluators for the results that ``cfg.MODEL.POSTPROCESSING.*_ON`` switches on.

    The ground truth must fit: panoptic annotation serves all of them, label PNGs serve
    SEMANTIC_ON, COCO's instance annotation serves INSTANCE_ON. A data set without ground truth gets
    the writers of COCO's result files instead, for PANOPTIC_ON and INSTANCE_ON.

    Args:
        output_dir: folder for ``metrics.json`` and what else the evaluators write; by default
            ``inference/<dataset_name>`` in ``cfg.OUTPUT_DIR``.

    Raises:
        UserError: nothing is switched on that this data set can be evaluated by.
        UserError: ``TEST.PANOPTIC_EVALUATOR`` is "detectron2" and that or panopticapi is missing.
    """
    output_dir = output_dir or os.path.join(cfg.OUTPUT_DIR, "inference", dataset_name)
    kind = ground_truth_kind(MetadataCatalog.get(dataset_name))
    switched = [key for key in RESULTS if cfg.MODEL.POSTPROCESSING[key]]
    on = [key for key in switched if key in _USES[kind]]
    if "INSTANCE_ON" in on and not _classes(cfg, dataset_name).num_things:
        on.remove("INSTANCE_ON")
    if not on:
        raise UserError(
            f"Nothing to evaluate on '{dataset_name}', which has {kind or 'no'} ground truth: "
            f"switch on MODEL.POSTPROCESSING.{' or '.join(_USES[kind])} (INSTANCE_ON needs things)."
        )
    for key in set(switched) - set(on):
        logger.warning(
            "MODEL.POSTPROCESSING.%s is on, but nothing of it is evaluated or written: '%s' has "
            "%s ground truth%s.",
            key, dataset_name, kind or "no", " and no things" if key in _USES[kind] else "",
        )  # fmt: skip
    if kind is None:
        logger.info("'%s' has no ground truth: writing files of results.", dataset_name)
        classes = _classes(cfg, dataset_name)
        make = {
            "PANOPTIC_ON": lambda: SubmissionWriter(dataset_name, output_dir, classes),
            "INSTANCE_ON": lambda: InstanceResultsWriter(output_dir, classes),
        }
    else:
        make = {
            "PANOPTIC_ON": lambda: _panoptic(cfg.TEST.PANOPTIC_EVALUATOR, dataset_name),
            "SEMANTIC_ON": lambda: SemanticEvaluator(dataset_name),
            "INSTANCE_ON": lambda: InstanceEvaluator(dataset_name, output_dir),
        }
    return SavedEvaluators([make[key]() for key in on], dataset_name, output_dir)


RESULTS = "PANOPTIC_ON", "SEMANTIC_ON", "INSTANCE_ON"
# The results that each kind of ground truth is for; without one COCO's files can be written.
_USES = {
    "panoptic": RESULTS,
    "semantic": ("SEMANTIC_ON",),
    "instance": ("INSTANCE_ON",),
    None: ("PANOPTIC_ON", "INSTANCE_ON"),
}


def ground_truth_kind(metadata) -> str | None:
    """ "panoptic", "semantic" or "instance"; None for data without annotation.

    COCO's test sets have a JSON with images and categories only.

    Raises:
        UserError: the JSON is missing or not sound.
    """
    if metadata.get("panoptic_json", None) and metadata.get("panoptic_root", None):
        content = read_panoptic_json(metadata.panoptic_json)
        return "panoptic" if content.get("annotations") else None
    evaluator = metadata.get("evaluator_type", None)
    if evaluator in ("sem_seg", "cityscapes_sem_seg"):
        return "semantic"
    if evaluator == "coco" and "annotations" in read_instance_json(metadata.json_file):
        return "instance"
    return None


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


def _classes(cfg: CfgNode, dataset_name: str) -> Classes:
    """Classes of a data set; images without any get those that the model was trained for."""
    whose = dataset_name if has_classes(dataset_name) else cfg.DATASETS.TRAIN[0]
    return Classes.from_metadata(MetadataCatalog.get(whose))


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
